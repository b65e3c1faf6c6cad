"""The catalogue: names, options and the grammar of losses, read from source without torch."""

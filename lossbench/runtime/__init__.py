"""The process and types that every floor uses: memory, processors, arrays, strings."""

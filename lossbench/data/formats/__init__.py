"""Input formats: one module a format."""

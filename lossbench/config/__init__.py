"""Configuration: keys, value types, and YAML with line numbers."""

"""The process: memory, cores and imports."""

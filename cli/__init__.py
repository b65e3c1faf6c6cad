"""The `lossbench` command: parse, call the library, print, exit."""

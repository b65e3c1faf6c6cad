"""Scripts that time lossbench next to other programs, each run as a file with numbers behind it."""

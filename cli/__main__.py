"""`python -m lossbench_cli`, the same as the console script."""

from .main import main

main()

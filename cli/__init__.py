"""The `lossbench` command: parse, call the library, print, exit."""

import os

# numpy's OpenBLAS starts a thread for each core, which wakes and waits for work that never comes:
# a sample is computed in one thread, and samples side by side.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

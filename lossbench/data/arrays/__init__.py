"""Byte arrays: shared memory, histograms and strips."""

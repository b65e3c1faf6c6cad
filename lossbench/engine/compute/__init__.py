"""Computation: losses of loaded batches, on a device."""

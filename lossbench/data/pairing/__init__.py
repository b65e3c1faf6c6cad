"""Pairing: which prediction belongs to which ground truth."""

"""Counting: images as tables of values and counts."""

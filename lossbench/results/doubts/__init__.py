"""Doubts: what looks like a mistake although every file could be read."""

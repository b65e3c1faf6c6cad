"""Geometry: surface points, distance transforms and box matching."""

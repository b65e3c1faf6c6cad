"""Choosing losses and thresholds from what the files hold."""

"""Choosing losses and thresholds from what the files hold, and from how losses see damages."""

"""Pretrained networks: architectures, weights and feature extraction."""

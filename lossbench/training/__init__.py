"""Training: losses of tensors, and the gradient check."""

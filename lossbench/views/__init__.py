"""Views: inputs derived from a sample batch, computed once however many losses ask for them."""

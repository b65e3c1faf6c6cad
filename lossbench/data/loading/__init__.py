"""Loading: from the files of a pair to a sample."""

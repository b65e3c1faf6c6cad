"""What this machine does: decoding, runs, each loss, each next to the limit that it cannot pass."""

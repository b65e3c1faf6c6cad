"""What `lossbench speed` measures: decoding, runs next to their limit, memory, and each loss."""

"""State of a run: loaded batches, scores, partial results and accumulators, in numpy."""

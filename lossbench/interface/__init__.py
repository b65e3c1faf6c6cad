"""Between a formula and the engine: annotations, sample batches, dispatch and reduction."""

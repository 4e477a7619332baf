"""Images of a run: read ahead, rendered in a pool of threads, cached within a byte budget."""

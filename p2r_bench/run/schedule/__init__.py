"""Order and pace of a run: launchers, the pipeline, its limiter, its circuit breaker, one sample at a time."""

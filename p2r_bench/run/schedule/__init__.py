"""Order and pace of a run: launchers, the pipeline, its limiter and its circuit breaker."""

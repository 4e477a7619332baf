"""Training samples: read, checked, mixed and probed, as the core's `Sample`."""

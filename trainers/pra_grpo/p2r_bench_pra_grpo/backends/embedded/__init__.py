"""GRPO in this process: one machine, no service, no cluster; for small models, also without a GPU."""

"""Where a stage is trained: in this process, or by verl on a cluster."""

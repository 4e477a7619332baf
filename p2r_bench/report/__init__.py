"""Pages and pictures of stored runs."""

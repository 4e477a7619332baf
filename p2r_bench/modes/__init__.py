"""The built-in modes: how a sample becomes calls to a model, one file each."""

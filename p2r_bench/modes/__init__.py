"""The built-in modes, one file each: protocols that turn a sample into calls to a model."""

"""The rounds of a training: which steps there are, how far they are, and what each does."""

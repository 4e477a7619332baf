"""Judges: each decides, by a named and versioned scorer, whether a prediction is right."""

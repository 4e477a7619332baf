"""Synth-HR."""

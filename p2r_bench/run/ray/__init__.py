"""Runs over several machines: one replica of the pipeline per Ray actor."""

"""Intervals and metrics over judged samples."""

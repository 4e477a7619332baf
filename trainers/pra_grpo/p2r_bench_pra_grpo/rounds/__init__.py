"""Rounds of a training: plan, state and execution of their steps."""

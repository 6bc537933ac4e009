"""Decisions by evaluations: the best checkpoint, and an early stop."""

"""Checkpoint selection and early stopping, based on evaluations."""

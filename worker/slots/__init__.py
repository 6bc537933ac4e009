"""Slots of a worker: GPUs or CPU processes, with locks and health tests."""

"""Benchmarks against common alternatives, on the same data and machine: `python -m benchmarks`."""

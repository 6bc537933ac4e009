"""Our way beside the usual way, on the same data and machine: `python -m benchmarks`."""

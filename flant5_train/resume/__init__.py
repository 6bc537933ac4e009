"""Resuming a run in a used output_dir: the run record, and the comparison with it."""

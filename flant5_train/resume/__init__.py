"""Going on in a used output_dir: the record of a run, and the comparison with it."""

"""Batch planning for whole epochs from the lengths of the pairs and a seed, equal on every process.
torch is imported only in `planning`, `training_batches` and `warm_up`."""

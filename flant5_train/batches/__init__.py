"""Which pairs are trained on together, and when: planned for a whole epoch, the same on every
process, from the lengths of the pairs and a seed. No torch but in `loader` and `warm_up`."""

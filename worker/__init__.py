"""The worker: takes jobs from the queue and runs the trainer under torchrun."""

"""What a worker trains on: GPUs or CPU processes, locked and tested."""

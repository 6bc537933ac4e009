"""TODO flant5_train/batching."""

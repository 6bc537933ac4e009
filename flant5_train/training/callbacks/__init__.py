"""TODO flant5_train/training/callbacks."""

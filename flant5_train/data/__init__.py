"""TODO flant5_train/data."""

"""TODO flant5_train/protocol."""

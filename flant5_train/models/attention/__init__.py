"""TODO flant5_train/models/attention."""

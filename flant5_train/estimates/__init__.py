"""TODO flant5_train/estimates."""

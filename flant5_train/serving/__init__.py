"""Answers of trained models to people who wait for them; `python -m flant5_train.serving`."""

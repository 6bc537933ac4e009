"""Inference process: streams answers of trained models; `python -m flant5_train.serving`."""

"""A server that plays a model hub, for an unmodified `huggingface_hub`."""

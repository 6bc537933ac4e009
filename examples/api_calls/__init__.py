"""Calls the whole REST API with curl against a running service: `make api-docs`."""

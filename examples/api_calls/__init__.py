"""Every call of the REST API, made with curl against a running service: `make api-docs`."""

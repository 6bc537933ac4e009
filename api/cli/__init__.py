"""Command line: a client of the REST API, and `flant5 up`, which runs the whole service."""

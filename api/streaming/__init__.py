"""TODO api/streaming."""

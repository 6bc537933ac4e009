"""TODO api/services."""

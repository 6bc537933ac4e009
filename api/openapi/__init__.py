"""TODO api/openapi."""

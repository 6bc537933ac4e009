"""TODO api/http."""

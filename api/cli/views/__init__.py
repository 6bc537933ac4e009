"""TODO api/cli/views."""

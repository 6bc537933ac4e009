"""TODO api/cli/commands."""

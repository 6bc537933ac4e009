"""TODO api/cli/stack."""

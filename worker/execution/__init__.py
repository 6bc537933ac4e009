"""TODO worker/execution."""

"""TODO api/dashboard/chat."""

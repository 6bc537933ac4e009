"""TODO api/dashboard/jobs."""

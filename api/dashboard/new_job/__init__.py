"""TODO api/dashboard/new_job."""

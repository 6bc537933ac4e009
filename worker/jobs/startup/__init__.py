"""TODO worker/jobs/startup."""

"""TODO worker/jobs/store."""

"""TODO worker/jobs/storage."""

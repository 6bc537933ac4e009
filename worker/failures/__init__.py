"""TODO worker/failures."""

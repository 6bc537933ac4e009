"""Why an attempt failed, and what follows from that."""

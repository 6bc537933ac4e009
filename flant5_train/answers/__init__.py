"""Sample answers generated during an evaluation, and their scores."""

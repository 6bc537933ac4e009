"""The trainer's process tree: start, supervision, logging, termination."""

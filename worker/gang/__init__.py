"""Attempts on several nodes: the wait for others, the members, and what the leader hears."""

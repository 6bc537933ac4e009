"""Failure diagnosis of attempts, and the retry policy."""

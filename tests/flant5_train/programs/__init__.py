"""Processes that the tests start; each is named by what it does."""

"""Generates the examples of docs/cli.md."""

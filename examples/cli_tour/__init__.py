"""Makes the examples of docs/cli.md."""

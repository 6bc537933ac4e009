"""REST routes. Each one validates its input, calls a service, and returns the result."""

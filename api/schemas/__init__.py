"""HTTP schemas of requests and responses."""

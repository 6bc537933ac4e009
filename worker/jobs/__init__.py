"""The contract between the API and the worker: what a job is, and every key in Redis."""

"""The contract between the API and the worker: the job model, and every key in Redis."""

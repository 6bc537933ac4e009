"""The REST API: the contract of the `openai` Python SDK for fine-tuning, and a superset of it."""

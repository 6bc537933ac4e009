"""REST API: the `openai` Python SDK's contract for fine-tuning, and a superset of it."""

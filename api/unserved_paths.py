"""Advice for requests to a path that this server does not have.

Clients of the OpenAI contract begin with routes that are not served here: agents, the AI SDK,
inspect and pydantic-ai call `/v1/responses` unless they are configured otherwise.
"""

_CHAT = "POST /v1/chat/completions answers here"
_UNSERVED = {
    "responses": f"{_CHAT}; docs/clients.md names the setting of each client that selects it",
    "completions": f"{_CHAT}: models are trained on conversations",
    "batches": f"{_CHAT}, one question per request",
    "embeddings": "fine-tuned models of this server generate text; none of them makes embeddings",
    "evals": "a job evaluates its model on its validation_file; the metrics of the job show it",
    "conversations": f"{_CHAT} and takes the whole conversation with each request",
    "assistants": _CHAT,
    "threads": _CHAT,
    "vector_stores": _CHAT,
    "moderations": "this server checks no content",
    "images": "this server generates text only",
    "audio": "this server generates text only",
    "videos": "this server generates text only",
    "realtime": f"{_CHAT}, also as a stream",
}
_SERVED = frozenset({"chat", "files", "fine_tuning", "models", "uploads"})


def advice(path: str) -> str | None:
    """Returns where to send a request that `path` has no route for, None when nothing is known.

    >>> advice("/v1/embeddings")
    'fine-tuned models of this server generate text; none of them makes embeddings'
    >>> advice("/fine_tuning/jobs")
    "the path begins with /v1: the client's base URL lacks it"
    """
    parts = [part for part in path.split("/") if part]
    if not parts:
        return None
    if parts[:2] == ["v1", "v1"]:
        return "the path has /v1 twice: the client's base URL has it, and the client adds it"
    if parts[0] == "v1":
        return _UNSERVED.get(parts[1]) if len(parts) > 1 else None
    if parts[0] in _SERVED or parts[0] in _UNSERVED:
        return "the path begins with /v1: the client's base URL lacks it"
    return None

"""Advice for requests to paths that this server does not have.

Some OpenAI clients use other routes by default: agents, the AI SDK, inspect and pydantic-ai call
`/v1/responses`.
"""

_CHAT = "use POST /v1/chat/completions instead"
_UNSERVED = {
    "responses": f"{_CHAT}; docs/clients.md lists the setting of each client that selects it",
    "completions": f"{_CHAT}: models are trained on conversations",
    "batches": f"{_CHAT}, one question per request",
    "embeddings": "models of this server generate text, not embeddings",
    "evals": "jobs evaluate their model on their validation_file; see the job's metrics",
    "conversations": f"{_CHAT}; send the whole conversation with each request",
    "assistants": _CHAT,
    "threads": _CHAT,
    "vector_stores": _CHAT,
    "moderations": "this server does not moderate content",
    "images": "this server generates text only",
    "audio": "this server generates text only",
    "videos": "this server generates text only",
    "realtime": f"{_CHAT}, optionally as a stream",
}
_SERVED = frozenset({"chat", "files", "fine_tuning", "models", "uploads"})


def advice(path: str) -> str | None:
    """Returns the alternative to a path that has no route, or None.

    >>> advice("/v1/embeddings")
    'models of this server generate text, not embeddings'
    >>> advice("/fine_tuning/jobs")
    "the path must begin with /v1: add it to the client's base URL"
    """
    parts = [part for part in path.split("/") if part]
    if not parts:
        return None
    if parts[:2] == ["v1", "v1"]:
        return "the path has /v1 twice: remove it from the client's base URL"
    if parts[0] == "v1":
        return _UNSERVED.get(parts[1]) if len(parts) > 1 else None
    if parts[0] in _SERVED or parts[0] in _UNSERVED:
        return "the path must begin with /v1: add it to the client's base URL"
    return None

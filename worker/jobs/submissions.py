"""Recognizes retries of one submission that have no idempotency key.

| key (prefix `flant5:`)    | type | content                                                      |
|---------------------------|------|--------------------------------------------------------------|
| try:{fingerprint}         | hash | token, arrived_at (ms), by_retry of the last submission with  |
|                           |      | this fingerprint; half an hour                                |

The `openai` SDK retries a create request when the response is late, with a retry count but no
idempotency key. A first try gets a new token, so two deliberate submissions stay two jobs. A retry
gets the token of the last first try with the same fingerprint (caller and content). The token is
the submission key of `JobStore.create`, which is atomic. So the first try may be complete, in
progress, or lost.
"""

import secrets
from importlib import resources
from typing import cast

from redis import Redis

from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

REMEMBERED_SECONDS = 1800
"""The SDK waits ten minutes for a response and tries three times in all."""


class Submissions:
    """Issues the tokens of submissions."""

    def __init__(self, redis: Redis) -> None:
        source = resources.files("worker.jobs") / "lua" / "submission_token.lua"
        self._script = redis.register_script(source.read_text("utf-8"))

    def token(self, fingerprint: str, *, arrived_at: float, is_retry: bool) -> str:
        """Returns the token of the submission that a request belongs to. `arrived_at` is the Unix
        time at which the server began to receive it. Raises StoreUnavailableError."""
        args = (
            keys.first_try(fingerprint),
            secrets.token_hex(16),
            int(arrived_at * 1000),
            int(is_retry),
            REMEMBERED_SECONDS,
        )
        with unavailable():
            return cast(str, self._script(args=args))

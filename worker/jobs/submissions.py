"""Which requests are tries of one submission, when the caller gives them no common name.

| key (prefix `flant5:`)    | type | content                                                      |
|---------------------------|------|--------------------------------------------------------------|
| try:{fingerprint}         | hash | token, arrived_at (ms), by_retry of the last submission with  |
|                           |      | this fingerprint; half an hour                                |

The `openai` SDK sends a create again when the answer is late, with a retry count but no
idempotency key. A first try gets a new token, so that two deliberate submissions stay two jobs; a
retry gets the token of the last first try with the same fingerprint (caller and content). The
token is the submission key of `JobStore.create`, which is atomic: it does not matter whether the
first try is done, still under way, or never came.
"""

import secrets
from importlib import resources
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable

REMEMBERED_SECONDS = 1800
"""The SDK waits ten minutes for an answer and tries three times in all."""


class Submissions:
    """Tokens of submissions."""

    def __init__(self, redis: Redis) -> None:
        source = resources.files("worker.jobs") / "lua" / "submission_token.lua"
        self._script = redis.register_script(source.read_text("utf-8"))

    def token(self, fingerprint: str, *, arrived_at: float, is_retry: bool) -> str:
        """The token of the submission that a request belongs to; `arrived_at` is when the server
        began to receive it, in Unix seconds. Raises StoreUnavailableError."""
        args = (
            keys.first_try(fingerprint),
            secrets.token_hex(16),
            int(arrived_at * 1000),
            int(is_retry),
            REMEMBERED_SECONDS,
        )
        with unavailable():
            return cast(str, self._script(args=args))

"""Runs the Lua scripts of the store, which are loaded from `lua/` with the table of job
transitions."""

from collections.abc import Callable
from importlib import resources
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from worker.jobs.life import NEXT
from worker.jobs.rules import Rules
from worker.jobs.store.keys import MAX_ENTRIES, PREFIX
from worker.jobs.store.redis import unavailable

Argument = str | int | float

_WAIT_FOR_DISK_MS = 1000


class Scripts:
    """Runs a script by name; each one is an atomic step on the server.

    The first line of a file (`#!lua`, with or without `flags=allow-oom`) must stay the first line.
    Without the flag, a server that is out of memory refuses the script before it writes anything.
    """

    def __init__(self, redis: Redis, rules: Rules) -> None:
        self.redis = redis
        folder = resources.files("worker.jobs") / "lua"
        head = _head(rules) + (folder / "prelude.lua").read_text("utf-8")
        self._scripts: dict[str, Callable[..., Any]] = {}
        for file in folder.iterdir():
            name = file.name.removesuffix(".lua")
            if name != "prelude" and file.name.endswith(".lua"):
                shebang, _, body = file.read_text("utf-8").partition("\n")
                self._scripts[name] = redis.register_script(f"{shebang}\n{head}\n{body}")

    def run(self, name: str, *args: Argument) -> Any:
        """Returns the script's result. Raises StoreUnavailableError."""
        with unavailable():
            return self._scripts[name](args=args)

    def run_durably(self, name: str, *args: Argument) -> Any:
        """As `run`, but waits until the step is on the server's disk, so a power loss can't undo
        it. Servers without that guarantee (no AOF, Redis before 7.2) answer without waiting."""
        with unavailable(), self.redis.pipeline(transaction=False) as pipeline:
            self._scripts[name](args=args, client=pipeline)
            pipeline.waitaof(1, 0, _WAIT_FOR_DISK_MS)
            answer, waited = pipeline.execute(raise_on_error=False)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(waited, Exception) and not isinstance(waited, ResponseError):
                raise waited
            return answer


def _head(rules: Rules) -> str:
    steps = ", ".join(
        f"{status.value} = {{ {', '.join(f'{to.value} = true' for to in sorted(following))} }}"
        for status, following in NEXT.items()
    )
    return (
        f"local PREFIX, MAX_ENTRIES = '{PREFIX}', {MAX_ENTRIES}\n"
        f"local MAX_LOSSES, RETRY_MS = {rules.max_losses}, {int(rules.retry_seconds * 1000)}\n"
        f"local NEXT = {{ {steps} }}\n"
    )

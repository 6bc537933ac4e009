"""Redis clients, Lua scripts, and the one place that translates errors to StoreUnavailableError.

`Scripts` runs the scripts of the store, which are loaded from `lua/` with the table of job
transitions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, TypeVar

from pydantic import SecretStr
from redis import (
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
    asyncio,
    exceptions,
)
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import ALLOWED_TRANSITIONS
from worker.jobs.redis_address import TCP, TLS, UNIX, RedisAddress
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.keys import MAX_ENTRIES, PREFIX

Answer = TypeVar("Answer")

TIMEOUT_SECONDS = 2.0

CONNECTION_CLASSES: dict[str, type[Any]] = {
    TCP: Connection,
    TLS: SSLConnection,
    UNIX: UnixDomainSocketConnection,
}
_ASYNC_CLASSES: dict[str, type[Any]] = {
    TCP: asyncio.Connection,
    TLS: asyncio.SSLConnection,
    UNIX: asyncio.UnixDomainSocketConnection,
}

_UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
)


_TRANSIENT = frozenset({"BUSY", "LOADING", "MISCONF", "NOREPLICAS"})
"""Prefixes of transient errors: a slow script, a server that loads its data, a disk that can't be
written, missing replicas."""
_IN_A_PIPELINE = "of pipeline caused error: "
"""Ends the text in which redis-py (8.1) names the failed command of a pipeline."""


class _OnceMore(Retry):
    """Retries a lost connection once. A server that loads its data is not retried: it refuses
    until it is done, and each answer may be late."""

    def __init__(self) -> None:
        super().__init__(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))

    def call_with_retry(
        self,
        do: Callable[[], Answer],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Answer:
        def is_worth_it(error: Exception) -> bool:
            is_loading = isinstance(error, exceptions.BusyLoadingError)
            return not is_loading and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, is_worth_it, with_failure_count)


def open_redis(url: SecretStr, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Redis:
    """Returns a client whose calls end within a few seconds, whatever the server does.

    It retries a lost connection once (all scripts of the store may run twice). It does not retry
    after a timeout: a frozen server costs a caller only one.

    Raises ValueError for a malformed URL.
    """
    address = RedisAddress.parse(url.get_secret_value())
    arguments: dict[str, Any] = {
        "decode_responses": True,
        "health_check_interval": 15,
        "retry": _OnceMore(),
    } | address.arguments(timeout_seconds=timeout_seconds)
    return Redis.from_pool(
        ConnectionPool(connection_class=CONNECTION_CLASSES[address.kind], **arguments)
    )


def open_async_redis(
    url: SecretStr, *, timeout_seconds: float, max_connections: int, patience_seconds: float
) -> AsyncRedis:
    """Returns a client for one event loop with at most `max_connections` connections.

    Concurrent calls wait up to `patience_seconds` for one of them. An ordinary pool would open one
    for each call, and refuse from the hundredth on.
    """
    address = RedisAddress.parse(url.get_secret_value())
    pool = asyncio.BlockingConnectionPool(
        max_connections=max_connections,
        timeout=patience_seconds,
        connection_class=_ASYNC_CLASSES[address.kind],
        **{"decode_responses": True} | address.arguments(timeout_seconds=timeout_seconds),
    )
    return AsyncRedis.from_pool(pool)


@contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Translates failures of the server to StoreUnavailableError; other errors are bugs."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailableError(f"Redis is not available: {error}") from error
    except exceptions.ResponseError as error:
        if is_transient(error):
            raise StoreUnavailableError(f"Redis is not available: {error}") from error
        raise


def is_transient(error: exceptions.ResponseError) -> bool:
    """Returns True for an error that goes away by itself, such as LOADING."""
    return str(error).rpartition(_IN_A_PIPELINE)[2].partition(" ")[0] in _TRANSIENT


Argument = str | int | float

_WAIT_FOR_DISK_MS = 1000


class Scripts:
    """Runs a script by name; each one is an atomic step on the server.

    The first line of a file (`#!lua`, with or without `flags=allow-oom`) must stay the first line.
    Without the flag, a server that is out of memory refuses the script before it writes anything.
    """

    def __init__(self, redis: Redis, policy: QueuePolicy) -> None:
        self.redis = redis
        folder = resources.files("worker.jobs") / "lua"
        head = _head(policy) + (folder / "prelude.lua").read_text("utf-8")
        self._scripts: dict[str, Callable[..., Any]] = {}
        for file in folder.iterdir():
            name = file.name.removesuffix(".lua")
            if name != "prelude" and file.name.endswith(".lua"):
                shebang, _, body = file.read_text("utf-8").partition("\n")
                self._scripts[name] = redis.register_script(f"{shebang}\n{head}\n{body}")

    def run(self, name: str, *args: Argument) -> Any:
        """Returns the script's result. Raises StoreUnavailableError."""
        with translate_redis_errors():
            return self._scripts[name](args=args)

    def run_durably(self, name: str, *args: Argument) -> Any:
        """As `run`, but waits until the step is on the server's disk, so a power loss can't undo
        it. Servers without that guarantee (no AOF, Redis before 7.2) answer without waiting."""
        with translate_redis_errors(), self.redis.pipeline(transaction=False) as pipeline:
            self._scripts[name](args=args, client=pipeline)
            pipeline.waitaof(1, 0, _WAIT_FOR_DISK_MS)
            answer, waited = pipeline.execute(raise_on_error=False)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(waited, Exception) and not isinstance(waited, ResponseError):
                raise waited
            return answer


def _head(policy: QueuePolicy) -> str:
    steps = ", ".join(
        f"{status.value} = {{ {', '.join(f'{to.value} = true' for to in sorted(following))} }}"
        for status, following in ALLOWED_TRANSITIONS.items()
    )
    return (
        f"local PREFIX, MAX_ENTRIES = '{PREFIX}', {MAX_ENTRIES}\n"
        f"local MAX_LOSSES, RETRY_MS = {policy.max_infra_retries}, "
        f"{int(policy.retry_seconds * 1000)}\n"
        f"local NEXT = {{ {steps} }}\n"
    )

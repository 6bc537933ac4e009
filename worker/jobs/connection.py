"""The connection to Redis, and the one place that turns its errors into ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from redis.retry import Retry

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.redis_address import TCP, TLS, UNIX, RedisAddress

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
"""First words of errors that pass: a script that takes long, a start, a disk that can't be written,
replicas that are away."""
_IN_A_PIPELINE = "of pipeline caused error: "
"""Before such an error redis-py (8.1) names the command."""


class _OnceMore(Retry):
    """Tries a lost connection once more; a server that is still loading its data says so for as
    long as that takes, and each answer may come late."""

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
    """A client whose calls end within a few seconds, whatever the server does.

    A lost connection is tried once more (all scripts of the store may run twice); a timeout is
    not, so that a frozen server costs a caller one timeout and not several.

    Raises ValueError for a URL that can't be read.
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
    """A client of one event loop with a few connections. Calls that come all at once wait for one
    of them, `patience_seconds` at most: an ordinary pool would open one for each of them, and
    refuse from the hundredth on."""
    address = RedisAddress.parse(url.get_secret_value())
    pool = asyncio.BlockingConnectionPool(
        max_connections=max_connections,
        timeout=patience_seconds,
        connection_class=_ASYNC_CLASSES[address.kind],
        **{"decode_responses": True} | address.arguments(timeout_seconds=timeout_seconds),
    )
    return AsyncRedis.from_pool(pool)


@contextmanager
def unavailable() -> Iterator[None]:
    """Raises StoreUnavailableError for what goes wrong with the server; other errors are bugs."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailableError(f"Redis is not available: {error}") from error
    except exceptions.ResponseError as error:
        if is_transient(error):
            raise StoreUnavailableError(f"Redis is not available: {error}") from error
        raise


def is_transient(error: exceptions.ResponseError) -> bool:
    """Returns True for an answer by which a server refuses what it will do later."""
    return str(error).rpartition(_IN_A_PIPELINE)[2].partition(" ")[0] in _TRANSIENT

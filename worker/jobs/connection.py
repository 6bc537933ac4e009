"""The connection to Redis, and the one place that turns its errors into ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import SecretStr
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.jobs.errors import StoreUnavailableError

Answer = TypeVar("Answer")

TIMEOUT_SECONDS = 2.0

_UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
)


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
    """
    return Redis.from_url(
        url.get_secret_value(),
        decode_responses=True,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        health_check_interval=15,
        retry=_OnceMore(),
    )


@contextmanager
def unavailable() -> Iterator[None]:
    """Raises StoreUnavailableError for what goes wrong with the server; other errors are bugs."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailableError(f"Redis is not available: {error}") from error
    except exceptions.ResponseError as error:
        # MISCONF: the server cannot write to its disk and refuses all writes until it can.
        if str(error).startswith("MISCONF"):
            raise StoreUnavailableError(f"Redis refuses to write: {error}") from error
        raise

"""Signs of data loss in the store: its mark, and changes of its server.

The mark is the name of the store and its number of changes, which are also on disk. The scripts of
the store count each step of a job and each request of a caller in `flant5:mark`. The controller
copies the mark to `store.json`. A store with a lower number than the file went back in time. A
store without the name was lost as a whole, or is a different one. Example of the file:

    {"store": "3f8a...", "number": 1234}

A restart, a failover, evictions or a rollback of the server may also have changed its data.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis

from worker.jobs.storage.filesystem import MalformedFileError, write_whole
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors


class Mark(BaseModel):
    """The name and the change count of a store."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    store: str = Field("", max_length=64)
    """Name given to the store when it was first used with this HOME; empty before."""
    number: int = Field(0, ge=0)
    """Number of changes so far."""


class MarkFile:
    """`store.json` of a HOME."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark:
        """Reads the mark; empty without a file. Raises OSError and MalformedFileError."""
        try:
            return Mark.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Mark()
        except ValidationError as error:
            raise MalformedFileError(self._path, error) from error

    def write(self, mark: Mark) -> None:
        """Writes the mark; returns once it is on disk. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, mark.model_dump_json() + "\n")


class StoreMark:
    """The mark in Redis. Every method raises StoreUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self) -> Mark:
        with translate_redis_errors():
            fields = cast(dict[str, str], self._redis.hgetall(keys.MARK))
        return Mark(store=fields.get("store", ""), number=int(fields.get("number", 0)))

    def name(self, store: str | None) -> str:
        """Sets the store's name, or a new random one, and returns it."""
        with translate_redis_errors():
            self._redis.hset(keys.MARK, "store", store or secrets.token_hex(16))
            return cast(str, self._redis.hget(keys.MARK, "store"))

    def count_on(self, by: int) -> None:
        """Adds `by` to the number, to skip the changes that were counted before a loss."""
        with translate_redis_errors():
            self._redis.hincrby(keys.MARK, "number", by)


@dataclass(frozen=True, slots=True)
class ServerSigns:
    """Signs read from the server at one time."""

    identity: tuple[str, str]
    """Ids of the process and of its data set. A restart, a failover or a resynchronization changes
    one of them."""
    num_evicted: int
    """Keys evicted since the server started."""
    mark: Mark


def read_signs(redis: Redis) -> ServerSigns:
    """Reads the signs. Raises StoreUnavailableError."""
    with translate_redis_errors():
        info: dict[str, Any] = redis.info("server", "replication", "stats")
    return ServerSigns(
        identity=(str(info.get("run_id", "")), str(info.get("master_replid", ""))),
        num_evicted=int(info.get("evicted_keys", 0)),
        mark=StoreMark(redis).read(),
    )

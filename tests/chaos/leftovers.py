"""Finds remains of deleted jobs, and missing parts of others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from tests.chaos.checker import Violation

_LOGS = ("audit", "logs", "deleted")
"""Directories of HOME that tell what was: the audit log, the parts' logs, the tombstones."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One job, and what is to be there of it."""

    job_id: str
    owner: str
    is_kept: bool
    status: str = ""
    model: str | None = None
    result_files: tuple[str, ...] = ()
    artifacts: Mapping[str, int] = field(default_factory=dict)
    """Path in the output directory -> bytes."""

    @property
    def path(self) -> str:
        return f"/fine_tuning/jobs/{self.job_id}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names that only this job has: its models by the end of their id."""
        return (self.job_id, f":{self.job_id[-8:]}", *self.result_files)

    def at_its_end(self, job: Mapping[str, Any], artifacts: Mapping[str, int]) -> "Expected":
        return replace(
            self,
            status=job["status"],
            model=job["fine_tuned_model"],
            result_files=tuple(job["result_files"]),
            artifacts=artifacts,
        )

    def without(self, directory: str) -> "Expected":
        """After a checkpoint was deleted."""
        left = {
            path: size for path, size in self.artifacts.items() if not path.startswith(directory)
        }
        return replace(self, artifacts=left)

    def without_model(self) -> "Expected":
        """After its final model was deleted."""
        left = {
            path: size for path, size in self.artifacts.items() if path.startswith("checkpoint-")
        }
        return replace(self, model=None, artifacts=left)


def check_deleted(deleted: Sequence[Expected], *, home: Path, redis: Redis) -> list[Violation]:
    """No file under HOME and no key or value in Redis names a deleted job, its models or its
    files."""
    paths = [
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.relative_to(home).parts[0] not in _LOGS
    ]
    stored = [f"{key}: {value}" for key, value in _contents(redis)]
    violations = []
    for expected in deleted:
        for name in expected.names:
            files = [path for path in paths if name in path]
            entries = [text[:300] for text in stored if name in text]
            if files:
                violations.append(
                    Violation("no file is left", expected.job_id, f"{files[:5]} of {len(files)}")
                )
            if entries:
                violations.append(Violation("no key is left", expected.job_id, f"{entries[:3]}"))
    return violations


def check_kept(
    expected: Expected, job: httpx.Response, artifacts: Mapping[str, int]
) -> list[Violation]:
    """A job that was not deleted has all that it had."""
    if not job.is_success:
        return [Violation("no other job is lost", expected.job_id, job.text)]
    found = job.json()
    now = (found["status"], found["fine_tuned_model"], tuple(found["result_files"]))
    before = (expected.status, expected.model, expected.result_files)
    violations = []
    if now != before:
        violations.append(
            Violation("a kept job is as it was", expected.job_id, f"{now}; expected {before}")
        )
    if artifacts != expected.artifacts:
        account = f"found {sorted(artifacts)}; expected {sorted(expected.artifacts)}"
        violations.append(Violation("no file of another is missing", expected.job_id, account))
    return violations


def _contents(redis: Redis) -> Iterator[tuple[str, object]]:
    """All keys with all that they hold."""
    read: dict[str, Callable[[str], object]] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1),
        "list": lambda key: redis.lrange(key, 0, -1),
        "stream": redis.xrange,
    }
    for key in redis.scan_iter(count=1000):
        yield key, read[str(redis.type(key))](key)

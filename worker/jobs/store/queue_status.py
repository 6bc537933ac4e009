"""State of the queue: reasons for waiting, statistics of the service, and repeated submissions.

`pending_reason` gives the reason why a queued job waits, in one sentence. `collect_queue_stats`
takes a snapshot of the whole service's statistics. Its cost does not grow with ended jobs.

`Submissions` recognizes retries of one submission that have no idempotency key:

| key (prefix `flant5:`)    | type | content                                                      |
|---------------------------|------|--------------------------------------------------------------|
| try:{fingerprint}         | hash | token, arrived_at (ms), by_retry of the last submission with |
|                           |      | this fingerprint; half an hour                               |

The `openai` SDK retries a create request when the response is late, with a retry count but no
idempotency key. A first try gets a new token, so two deliberate submissions stay two jobs. A retry
gets the token of the last first try with the same fingerprint (caller and content). The token is
the submission key of `JobStore.create`, which is atomic. So the first try may be complete, in
progress, or lost.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import cast

from redis import Redis

from worker.jobs.job import Job, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors
from worker.jobs.store.serialization import read_job
from worker.jobs.store.workers import WorkerState, live_workers

_MAX_NAMED = 3


def pending_reason(
    job: Job,
    workers: Sequence[WorkerState],
    *,
    num_ahead: int,
    num_running: int,
    policy: QueuePolicy,
    now: float,
) -> str | None:
    """Returns the end of "waiting for ..."; None unless the job is queued.

    `num_ahead` jobs precede it in the queue, and `num_running` jobs of its owner run. The reason
    names what has to change first: a job that no worker can run does not wait for its turn.
    """
    if job.status is not Status.QUEUED:
        return None
    if job.retry_at is not None and job.retry_at > now:
        # Rounded up, or the message would show "0 s left" before the delay is over.
        left = int(-(-(job.retry_at - now) // 1))
        return f"the retry delay after a lost attempt: {left} s left"
    num_slots = job.spec.hyperparameters.num_gpus
    num_nodes = job.spec.hyperparameters.num_nodes
    if num_nodes > 1:
        needed = _Nodes(num_nodes, num_slots)
        is_limited = 0 < policy.max_running <= num_running
        return needed.missing(workers) or (
            _limit(policy, num_running) if is_limited else needed.turn(workers, num_ahead=num_ahead)
        )
    if not workers:
        return "a worker: none is online"
    fitting = [worker for worker in workers if worker.num_slots >= num_slots]
    if not fitting:
        largest = max(workers, key=lambda worker: worker.num_slots)
        return (
            f"a worker with {num_slots} slots: none is online; the largest, {largest.name}, has "
            f"{largest.num_slots}"
        )
    healthy = [worker for worker in fitting if worker.unhealthy_reason is None]
    if not healthy:
        return f"a healthy worker{_with_slots(num_slots)}: {_complaints(fitting)}"
    if 0 < policy.max_running <= num_running:
        return _limit(policy, num_running)
    return _turn(healthy, num_slots=num_slots, num_ahead=num_ahead)


def _limit(policy: QueuePolicy, num_running: int) -> str:
    return f"another job of its owner to end: {num_running} running, limit {policy.max_running}"


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The need for several workers at the same time, each with enough slots."""

    num_nodes: int
    num_slots: int

    def missing(self, workers: Sequence[WorkerState]) -> str | None:
        """Returns what would be missing even if no other job ran; None if nothing would."""
        fitting = self._fitting(workers)
        if len(fitting) < self.num_nodes:
            return f"{self.num_nodes} workers{self._each()}: {_count(len(fitting))} online"
        sick = [worker for worker in fitting if worker.unhealthy_reason is not None]
        if len(fitting) - len(sick) < self.num_nodes:
            return f"{self.num_nodes} healthy workers{self._each()}: {_complaints(sick)}"
        return None

    def turn(self, workers: Sequence[WorkerState], *, num_ahead: int) -> str:
        """Returns the reason when `missing` is None: enough workers are online."""
        healthy = [worker for worker in self._fitting(workers) if worker.unhealthy_reason is None]
        idle = [worker.name for worker in healthy if worker.job_id is None]
        ahead = "it is next in the queue" if not num_ahead else f"{_jobs(num_ahead)} ahead of it"
        if len(idle) < self.num_nodes:
            here = f"{len(idle)} of {len(healthy)} {'is' if len(idle) == 1 else 'are'} idle"
            return f"{self.num_nodes} free workers{self._each()}: {here}; {ahead}"
        if num_ahead:
            return f"its turn: {ahead}"
        names = ", ".join(idle[: self.num_nodes])
        return f"workers {names} to start it"

    def _fitting(self, workers: Sequence[WorkerState]) -> list[WorkerState]:
        return [worker for worker in workers if worker.num_slots >= self.num_slots]

    def _each(self) -> str:
        return f" with {self.num_slots} slot{'s' if self.num_slots > 1 else ''} each"


def _count(number: int) -> str:
    return {0: "none is", 1: "1 is"}.get(number, f"{number} are")


def _turn(healthy: Sequence[WorkerState], *, num_slots: int, num_ahead: int) -> str:
    idle = [worker.name for worker in healthy if worker.job_id is None]
    if len(idle) > num_ahead:
        return f"worker {idle[0]} to start it"
    ahead = "it is next in the queue" if not num_ahead else f"{_jobs(num_ahead)} ahead of it"
    if idle:
        return f"its turn: {ahead}"
    busy = f"all {len(healthy)} are busy" if len(healthy) > 1 else f"{healthy[0].name} is busy"
    return f"a free worker{_with_slots(num_slots)}: {busy}; {ahead}"


def _with_slots(num_slots: int) -> str:
    return f" with {num_slots} slots" if num_slots > 1 else ""


def _jobs(number: int) -> str:
    return "1 job is" if number == 1 else f"{number} jobs are"


def _complaints(sick: Sequence[WorkerState]) -> str:
    summary = "; ".join(
        f"{worker.name} takes no jobs ({worker.unhealthy_reason})" for worker in sick[:_MAX_NAMED]
    )
    return (
        summary if len(sick) <= _MAX_NAMED else f"{summary}; nor do {len(sick) - _MAX_NAMED} more"
    )


class QueuePosition:
    """Reasons of many jobs at once. Raises StoreUnavailableError."""

    def __init__(self, redis: Redis, policy: QueuePolicy) -> None:
        self._redis = redis
        self._policy = policy

    def explain(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Returns the reason of each queued job by its id, see `pending_reason`."""
        queued = [job for job in jobs if job.status is Status.QUEUED]
        if not queued:
            return {}
        workers = live_workers(self._redis)
        with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for job in queued:
                pipeline.zrank(keys.QUEUED, job.id)
                pipeline.scard(keys.running_of(job.owner))
            (seconds, microseconds), *answers = pipeline.execute()
        reasons = {}
        for job, rank, num_running in zip(queued, answers[::2], answers[1::2], strict=True):
            reason = pending_reason(
                job,
                workers,
                # No rank: a worker has just taken it.
                num_ahead=cast(int | None, rank) or 0,
                num_running=cast(int, num_running),
                policy=self._policy,
                now=seconds + microseconds / 1e6,
            )
            if reason is not None:
                reasons[job.id] = reason
        return reasons


_INDEXES = {
    Status.VALIDATING_FILES: keys.VALIDATING,
    Status.QUEUED: keys.QUEUED,
    Status.RUNNING: keys.RUNNING,
}
_VERDICTS = ("accepted", "rejected")


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Job counts, running jobs and workers at one moment."""

    num_jobs: Mapping[Status, int]
    longest_wait_seconds: float
    """Time in the queue of the job that has waited longest; 0 if no job is queued."""
    num_checks: Mapping[str, int]
    """Finished file checks by verdict, since the store was created."""
    running: tuple[Job, ...]
    workers: tuple[WorkerState, ...]


def collect_queue_stats(redis: Redis) -> QueueStats:
    """Takes a snapshot. Raises StoreUnavailableError."""
    with translate_redis_errors(), redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hgetall(keys.COUNTS)
        for index in _INDEXES.values():
            pipeline.zcard(index)
        pipeline.zrange(keys.WAITING_SINCE, 0, 0, withscores=True)
        pipeline.zrange(keys.RUNNING, 0, -1)
        (seconds, microseconds), counts, *sizes, oldest, running_ids = pipeline.execute()
    now = seconds + microseconds / 1e6
    # The size of an index is exact, even in a store that began counting late.
    indexed = dict(zip(_INDEXES, sizes, strict=True))
    counted = {status: max(0, int(counts.get(status, 0))) for status in Status}
    return QueueStats(
        num_jobs=counted | indexed,
        longest_wait_seconds=max((now - since / 1000 for _, since in oldest), default=0.0),
        num_checks={verdict: int(counts.get(verdict, 0)) for verdict in _VERDICTS},
        running=_running(redis, running_ids),
        workers=live_workers(redis),
    )


def _running(redis: Redis, job_ids: list[str]) -> tuple[Job, ...]:
    with translate_redis_errors(), redis.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hgetall(keys.job(job_id))
        hashes = cast(list[dict[str, str]], pipeline.execute())
    jobs = (read_job(*each) for each in zip(job_ids, hashes, strict=True) if each[1])
    # A job may have ended meanwhile.
    return tuple(job for job in jobs if job.status is Status.RUNNING)


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
        with translate_redis_errors():
            return cast(str, self._script(args=args))

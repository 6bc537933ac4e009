"""The job store: each step of a job is one Lua script, timed by the server's clock.

| key (prefix `flant5:`)    | type   | content                                                    |
|---------------------------|--------|------------------------------------------------------------|
| counter                   | string | number of jobs ever created                                |
| mark                      | hash   | store: its name, as on disk; number: changes so far        |
|                           |        | (`worker.controller.store_mark`)                           |
| jobs                      | zset   | ids of all jobs, by number                                 |
| validating                | zset   | ids of jobs whose files need a check, by number            |
| queued                    | zset   | ids of queued jobs, by priority, then by number            |
| bells                     | zset   | the same ids by the time of their last wake-up message (the|
|                           |        | job's number if none was sent)                             |
| waiting_since             | zset   | the same ids by when they entered the queue, in ms         |
| running                   | zset   | ids of running jobs by the end of their lease, in ms       |
| paused                    | zset   | ids of paused jobs, by number                              |
| workers                   | zset   | names of workers by the time they count as gone, in ms     |
| worker:{name}             | hash   | num_slots, devices, gpu_bytes (of the smallest, or ''),    |
|                           |        | machine (the boot id of its host),                         |
|                           |        | sick (the reason why it takes no jobs), sits_at, sits_until|
|                           |        | (its seat: the job whose gang it waits for)                |
| owner:{name}:jobs         | zset   | ids of an owner's jobs, by number                          |
| metadata:{sha1}           | zset   | ids of the jobs with this metadata pair, by number         |
| owner:{name}:waiting      | set    | ids of an owner's queued and paused jobs                   |
| owner:{name}:running      | set    | ids of an owner's running jobs                             |
| models                    | hash   | fine-tuned model id -> job id                              |
| names                     | hash   | current or future model id of a job -> job id              |
| recovery                  | string | the last `flant5 recover`, as JSON                         |
| forgotten                 | set    | deletions whose files are not yet all gone: `{job}`,       |
|                           |        | `{job}/model`, `{job}/checkpoint-{step}`                   |
| counts                    | hash   | jobs by status; finished file checks by verdict:           |
|                           |        | accepted, rejected; webhooks_delivered, _failed (tries),   |
|                           |        | _given_up; shipments_done, _failed (tries), _given_up      |
| webhooks                  | hash   | endpoint -> its subscription to ends of jobs, as JSON      |
| webhook:{endpoint}:due    | zset   | ids of events by the time of their next delivery, in ms    |
| webhook:{endpoint}:ends   | hash   | id of an event -> job_id, status, created_at, as JSON      |
| webhook:{endpoint}:tries  | hash   | id of an event -> deliveries begun                         |
| integrations              | hash   | type -> owners who may use it, as JSON                     |
| shipments                 | zset   | `{job}/{type}` of integrations with a pending export, by   |
|                           |        | due time in ms                                             |
| shipments:news            | hash   | `{job}/{type}` -> number of changes to export              |
| shipments:tries           | hash   | `{job}/{type}` -> failed tries in a row                    |
| shipments:failing         | hash   | `{job}/{type}` -> time of the first of these, in ms        |
| service                   | string | id of the service that this database belongs to            |
| pulse                     | string | the controller's newest file in HOME/service/pulse; 30 s   |
| submission:{key}          | string | id of the job created with a submission key; 24 h          |
| job:{id}                  | hash   | status, spec, metadata, owner, number, priority, num_slots,|
|                           |        | created_at, queued_at, started_at, finished_at, retry_at,  |
|                           |        | is_accepted, epoch, attempt, result_floor, worker,         |
|                           |        | claim_token, claimed_at, last_heartbeat_at, run_ms, losses |
|                           |        | (since a checkpoint), failures, cancel_requested,          |
|                           |        | pause_requested, phase, progress, trained_tokens, error,   |
|                           |        | chosen (the automatic hyperparameters, once known),        |
|                           |        | fine_tuned_model, progress_offset, log_offset, events,     |
|                           |        | log_lines (counts), is_model_deleted, submission_key,      |
|                           |        | cleaned_at (finished_at when its checkpoints were removed),|
|                           |        | num_nodes, is_given_up (cancelled by the API, which could  |
|                           |        | not record it), wished_at (last request of a caller);      |
|                           |        | while it runs: workers (its leader first), rendezvous      |
|                           |        | (the leader's address)                                     |
| job:{id}:members          | zset   | the gang's workers except the leader, by last heartbeat    |
| job:{id}:ends             | hash   | worker -> how its node of the attempt ended, as JSON       |
| job:{id}:events           | stream | seq, at, level, type, message, data                        |
| job:{id}:logs             | stream | seq, at, stream, line                                      |
| job:{id}:checkpoints      | stream | step, at, path, metrics                                    |

Instants are whole milliseconds. Each step appends an event whose data holds the new status.
"""

import json
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import cast

from redis import Redis

from worker.jobs.errors import InvalidRequestError, LimitReachedError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.job import Job, JobError, JobSpec, Status, model_id
from worker.jobs.rules import SUBMISSION_SECONDS, QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.leases import Gangs, Leases
from worker.jobs.store.listing import DeletedJobs, ModelIndex, list_jobs, no_fine_tuned
from worker.jobs.store.recovery import Standing, read_standings
from worker.jobs.store.redis import Scripts, translate_redis_errors
from worker.jobs.store.serialization import NewEvent, encode_events, read_job


class JobStore:
    """All jobs. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, policy: QueuePolicy | None = None) -> None:
        policy = policy or QueuePolicy()
        self._redis = redis
        self._policy = policy
        self.scripts = Scripts(redis, policy)
        self.leases = Leases(redis, self.scripts, policy)
        self.gangs = Gangs(redis, self.scripts)
        self.models = ModelIndex(redis)
        self.deleted = DeletedJobs(redis, self.scripts)

    def create(self, spec: JobSpec, *, owner: str = "", submission_key: str | None = None) -> Job:
        """Creates a job as `submit` does, and returns it."""
        return self.get(self.submit(spec, owner=owner, submission_key=submission_key))

    def submit(self, spec: JobSpec, *, owner: str = "", submission_key: str | None = None) -> str:
        """Creates a job and returns its id, or the id of an earlier job with this submission key.

        Raises LimitReachedError if the owner has reached its limit of pending jobs. Raises
        InvalidRequestError if its fine-tuned model or checkpoint was deleted.
        """
        new_id = _new_job_id()
        job_id, *reason = self.scripts.run_durably(
            "create",
            new_id,
            model_id(new_id, spec),
            spec.model_dump_json(),
            keys.submission(submission_key) if submission_key else "",
            SUBMISSION_SECONDS,
            json.dumps(spec.metadata),
            owner,
            self._policy.max_waiting,
            spec.hyperparameters.num_gpus,
            spec.priority,
            spec.hyperparameters.num_nodes,
        )
        if reason == ["model"]:
            raise InvalidRequestError(f"model: {no_fine_tuned(spec.model)}", param="model")
        if job_id is None:
            raise LimitReachedError(
                f"You have reached the limit of queued jobs ({reason[0]} are queued or paused). "
                "Wait for one to start, or cancel one."
            )
        return str(job_id)

    def get(self, job_id: str) -> Job:
        with translate_redis_errors():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        if not fields:
            raise NotFoundError(f"no job {job_id!r}")
        return read_job(job_id, fields)

    def owner_of(self, job_id: str) -> str:
        """Returns the owner of a job, '' on a server without keys. Raises NotFoundError."""
        with translate_redis_errors():
            owner = cast(str | None, self._redis.hget(keys.job(job_id), "owner"))
        if owner is None:
            raise NotFoundError(f"no job {job_id!r}")
        return owner

    def list(
        self,
        *,
        after: str | None,
        limit: int,
        metadata: Mapping[str, str] | None = None,
        owner: str | None = None,
    ) -> Page[Job]:
        """Returns a page of jobs after the job `after`, newest first. `metadata` selects the jobs
        that have all of these pairs, `owner` those of one owner."""
        index = keys.JOBS if owner is None else keys.jobs_of(owner)
        with translate_redis_errors():
            return list_jobs(self._redis, index, after=after, limit=limit, metadata=metadata or {})

    def cancel(self, job_id: str, *, with_checkpoint: bool = False) -> Job:
        """Cancels a job at once, or requests a running job to stop."""
        return self._cancelled(job_id, "save" if with_checkpoint else "force", "")

    def cancel_by_system(self, job_id: str) -> Job:
        """Cancels a job that was never acknowledged. A retry of its submission creates another
        one."""
        return self._cancelled(job_id, "force", "given_up")

    def _cancelled(self, job_id: str, how: str, mark: str) -> Job:
        before = self.scripts.run("cancel", job_id, how, mark)
        if before is None:
            raise NotFoundError(f"no job {job_id!r}")
        if Status(before).is_final:
            raise InvalidRequestError(
                f"job {job_id} has already {before}; only a job that has not ended can be cancelled"
                if before != Status.CANCELLED
                else f"job {job_id} was already cancelled"
            )
        return self.get(job_id)

    def pause(self, job_id: str) -> Job:
        """Pauses a job at once; a running job saves a checkpoint first."""
        return self._desired("pause", job_id, expected="a queued or running job can be paused")

    def resume(self, job_id: str) -> Job:
        """Requeues a paused, failed or cancelled job, which continues from its latest checkpoint.
        Cancels a pending pause of a running job."""
        expected = "a paused, failed or cancelled job can be resumed"
        return self._desired("resume", job_id, expected=expected)

    def _desired(self, script: str, job_id: str, *, expected: str) -> Job:
        before, is_done = self.scripts.run(script, job_id)
        if before is None:
            raise NotFoundError(f"no job {job_id!r}")
        job = self.get(job_id)
        if not is_done:
            status = "is being cancelled" if job.is_cancelling else f"is {before}"
            raise InvalidRequestError(f"job {job_id} {status}; only {expected}")
        return job

    def unknown(self, job_ids: Sequence[str]) -> tuple[str, ...]:
        """Returns the ids of unknown jobs, in the given order."""
        with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.exists(keys.job(job_id))
            found = pipeline.execute()
        return tuple(each for each, is_here in zip(job_ids, found, strict=True) if not is_here)

    def standings(self, job_ids: Sequence[str]) -> tuple[Standing | None, ...]:
        """Returns the state of each job in the store, in the order of the ids."""
        return read_standings(self._redis, job_ids)

    def record_desired_state(self, job_id: str) -> None:
        """Sets the time of the last request for the job to now."""
        self.scripts.run("record_desired_state", job_id)

    def mend(self, job_ids: Sequence[str], *, lease_seconds: float) -> tuple[tuple[str, str], ...]:
        """Adds missing index entries of the jobs and removes stale ones.

        Returns (id, finding) pairs: `missing` for an unknown job, `model` for one whose model is
        not in the index, otherwise the repaired entry.
        """
        found = self.scripts.run("mend", int(lease_seconds * 1000), *job_ids)
        return tuple((job_id, what) for job_id, what in found)

    def is_empty(self) -> bool:
        """Returns True if the store has no jobs."""
        with translate_redis_errors():
            return not self._redis.exists(keys.JOBS)

    def num_to_validate(self) -> int:
        """Returns the number of jobs whose file check has not finished."""
        with translate_redis_errors():
            return self._redis.zcard(keys.VALIDATING)

    def to_validate(self, limit: int) -> tuple[Job, ...]:
        """Returns jobs whose files need a check, oldest first."""
        with translate_redis_errors():
            ids = cast(tuple[str, ...], self._redis.zrange(keys.VALIDATING, 0, limit - 1))
        return tuple(self.get(job_id) for job_id in ids)

    def accept(self, job_id: str, warnings: Sequence[NewEvent] = ()) -> bool:
        """Moves a job from validating_files to queued, after recording the warnings about its
        files. False if its status has changed."""
        return bool(self.scripts.run("accept", job_id, encode_events(warnings)))

    def reject(self, job_id: str, error: JobError) -> bool:
        """Moves a job from validating_files to failed; False if its status has changed."""
        return bool(self.scripts.run("reject", job_id, error.model_dump_json()))


def _new_job_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "ftjob-" + "".join(secrets.choice(alphabet) for _ in range(24))

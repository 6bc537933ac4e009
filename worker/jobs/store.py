"""The job store: every step of a job's life, each one Lua script, timed by the server's clock.

| key (prefix `flant5:`)    | type   | content                                                    |
|---------------------------|--------|------------------------------------------------------------|
| counter                   | string | number of jobs ever created                                |
| jobs                      | zset   | all job ids by their number: the list                      |
| validating                | zset   | ids whose files are to be checked, by number               |
| queued                    | zset   | ids that wait for a worker, by the time of their last      |
|                           |        | doorbell (the job's number when none was rung)             |
| running                   | zset   | ids by the end of their lease, in ms                       |
| models                    | hash   | fine-tuned model id -> job id                              |
| names                     | hash   | the model id that a job has or will have -> job id         |
| submission:{key}          | string | id of the job that a submission key made; 24 h             |
| job:{id}                  | hash   | status, spec, metadata, number, created_at, started_at,    |
|                           |        | finished_at, epoch, attempt, losses (since a checkpoint),  |
|                           |        | worker, claim_token, last_heartbeat_at, cancel_requested,  |
|                           |        | phase, progress, trained_tokens, error, fine_tuned_model,  |
|                           |        | progress_offset, log_offset, events, log_lines (counts)    |
| job:{id}:events           | stream | seq, at, level, type, message, data                        |
| job:{id}:logs             | stream | seq, at, stream, line                                      |
| job:{id}:checkpoints      | stream | step, at, path, metrics                                    |

Instants are whole milliseconds. Each step appends an event whose data holds the new status.
"""

import json
import secrets
import string
from collections.abc import Mapping
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.life import Status
from worker.jobs.listing import list_jobs
from worker.jobs.records import encode_update, read_job
from worker.jobs.scripts import Scripts
from worker.jobs.spec import JobSpec
from worker.jobs.update import (
    Beat,
    Claim,
    Failed,
    Offsets,
    OffsetsMovedError,
    Outcome,
    Succeeded,
    Update,
)

SUBMISSION_SECONDS = 24 * 3600


class JobStore:
    """All jobs. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, *, max_losses: int = 5) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, max_losses=max_losses)

    def create(self, spec: JobSpec, *, submission_key: str | None = None) -> Job:
        """The new job, or the one that an earlier call with this submission key made."""
        new_id = _new_job_id()
        job_id = self._scripts.run_durably(
            "create",
            new_id,
            model_id(new_id, spec),
            spec.model_dump_json(),
            keys.submission(submission_key) if submission_key else "",
            SUBMISSION_SECONDS,
            json.dumps(spec.metadata),
        )
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        with unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        if not fields:
            raise NotFoundError(f"no job {job_id!r}")
        return read_job(job_id, fields)

    def list(
        self, *, after: str | None, limit: int, metadata: Mapping[str, str] | None = None
    ) -> Page[Job]:
        """Newest first, beginning after the job `after`; with `metadata`, only jobs that carry
        all of these pairs."""
        with unavailable():
            return list_jobs(self._redis, after=after, limit=limit, metadata=metadata or {})

    def cancel(self, job_id: str) -> Job:
        """A job that does not run is cancelled at once; a running one is asked to stop."""
        before = self._scripts.run("cancel", job_id)
        if before is None:
            raise NotFoundError(f"no job {job_id!r}")
        if Status(before).is_final:
            raise InvalidRequestError(
                f"job {job_id} has {before}; only a job that has not ended can be cancelled"
                if before != Status.CANCELLED
                else f"job {job_id} was cancelled before"
            )
        return self.get(job_id)

    def to_validate(self, limit: int) -> tuple[Job, ...]:
        """Jobs whose files are to be checked, oldest first."""
        with unavailable():
            ids = cast(tuple[str, ...], self._redis.zrange(keys.VALIDATING, 0, limit - 1))
        return tuple(self.get(job_id) for job_id in ids)

    def accept(self, job_id: str) -> bool:
        """validating_files -> queued; False when the job is elsewhere by now."""
        return bool(self._scripts.run("accept", job_id))

    def reject(self, job_id: str, error: JobError) -> bool:
        """validating_files -> failed; False when the job is elsewhere by now."""
        return bool(self._scripts.run("reject", job_id, error.model_dump_json()))

    def claim(self, job_id: str, *, worker: str, lease_seconds: float) -> Claim | None:
        """queued -> running under a new epoch; None when there is nothing to claim."""
        lease_ms, token = int(lease_seconds * 1000), secrets.token_hex(16)
        if not self._scripts.run("claim", job_id, worker, lease_ms, token):
            return None
        with unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        job = read_job(job_id, fields)
        offsets = Offsets(
            progress=int(fields.get("progress_offset", 0)), log=int(fields.get("log_offset", 0))
        )
        return Claim(job=job, epoch=job.epoch, attempt=job.attempt, offsets=offsets)

    def beat(self, claim: Claim, lease_seconds: float) -> Beat:
        """Extends the lease, and tells whether to go on."""
        lease_ms = int(lease_seconds * 1000)
        return Beat[self._scripts.run("beat", claim.job.id, claim.epoch, lease_ms).upper()]

    def record(self, claim: Claim, update: Update) -> bool:
        """Stores an update as a whole; False when the claim no longer holds the job.

        Raises OffsetsMovedError when the update does not begin where the store stands.
        """
        answer = self._scripts.run("record", claim.job.id, claim.epoch, encode_update(update))
        if answer[0] == "moved":
            raise OffsetsMovedError(Offsets(progress=answer[1], log=answer[2]))
        return bool(answer[0] == "recorded")

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """running -> a final status; True also when the job ended this way before."""
        status, model, error = Status.CANCELLED, "", ""
        if isinstance(outcome, Succeeded):
            status, model = Status.SUCCEEDED, outcome.fine_tuned_model
        elif isinstance(outcome, Failed):
            status, error = Status.FAILED, outcome.error.model_dump_json()
        args = (claim.job.id, claim.epoch, status.value, model, error)
        return bool(self._scripts.run_durably("finish", *args))

    def release(self, claim: Claim, *, reason: str, lost: bool) -> Status:
        """The job goes back into the queue, and its status after that comes back.

        `lost` counts a loss of infrastructure; after `max_losses` of them without a new
        checkpoint in between the job has failed. Otherwise the attempt is given back.
        """
        args = (claim.job.id, claim.epoch, reason, int(lost))
        status = self._scripts.run("release", *args)
        if status is None:
            raise NotFoundError(f"no job {claim.job.id!r}")
        return Status(status)

    def release_worker(
        self, worker: str, *, reason: str = "its worker was restarted", only: str | None = None
    ) -> tuple[str, ...]:
        """What this worker holds goes back, as lost; with `only`, just that job. Ids of the
        jobs."""
        return tuple(self._scripts.run("release_worker", worker, reason, only or ""))

    def reap(self, limit: int) -> tuple[str, ...]:
        """The jobs whose lease ran out go back, as lost. Their ids."""
        return tuple(self._scripts.run("reap", limit))

    def bells(self, older_than_seconds: float, limit: int) -> tuple[str, ...]:
        """Queued jobs whose doorbell is older than this or was never rung; they count as rung."""
        return tuple(self._scripts.run("bells", int(older_than_seconds * 1000), limit))

    def job_of_model(self, model: str) -> str:
        """The id of the job that made a fine-tuned model."""
        return self._job_in(keys.MODELS, model)

    def job_of_name(self, model: str) -> str:
        """As `job_of_model`, also for a job that has not ended or did not succeed: such jobs
        have checkpoints."""
        return self._job_in(keys.NAMES, model)

    def models(self) -> dict[str, str]:
        """Fine-tuned model id -> job id."""
        with unavailable():
            return cast(dict[str, str], self._redis.hgetall(keys.MODELS))

    def forget_model(self, model: str) -> None:
        with unavailable():
            num_removed = self._redis.hdel(keys.MODELS, model)
        if not num_removed:
            raise NotFoundError(f"no fine-tuned model {model!r}")

    def _job_in(self, key: str, model: str) -> str:
        with unavailable():
            job_id = cast(str | None, self._redis.hget(key, model))
        if job_id is None:
            raise NotFoundError(f"no fine-tuned model {model!r}")
        return job_id


def _new_job_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "ftjob-" + "".join(secrets.choice(alphabet) for _ in range(24))

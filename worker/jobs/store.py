"""The job store: every step of a job's life, each one Lua script, timed by the server's clock.

| key (prefix `flant5:`)    | type   | content                                                    |
|---------------------------|--------|------------------------------------------------------------|
| counter                   | string | number of jobs ever created                                |
| mark                      | hash   | store: its name, as on disk; number: changes counted so far|
|                           |        | (`worker.jobs.mark`)                                       |
| jobs                      | zset   | all job ids by their number: the list                      |
| validating                | zset   | ids whose files are to be checked, by number               |
| queued                    | zset   | ids that wait for a worker, by priority, then by number    |
| bells                     | zset   | the same ids by the time of their last doorbell (the job's |
|                           |        | number when none was rung)                                 |
| waiting_since             | zset   | the same ids by when they entered the queue, in ms         |
| running                   | zset   | ids by the end of their lease, in ms                       |
| paused                    | zset   | ids of paused jobs, by number                              |
| workers                   | zset   | names of workers by the time they count as gone, in ms     |
| worker:{name}             | hash   | num_slots, devices, gpu_bytes (of the smallest, or ''),    |
|                           |        | machine (the boot id of its host),                         |
|                           |        | sick (why it takes no jobs), sits_at, sits_until (the job  |
|                           |        | at which it waits for other workers)                       |
| owner:{name}:jobs         | zset   | all ids of an owner's jobs by their number                 |
| metadata:{sha1}           | zset   | the ids of jobs with this pair of metadata, by their number|
| owner:{name}:waiting      | set    | ids of an owner's jobs that wait or are paused             |
| owner:{name}:running      | set    | ids of an owner's jobs that run                            |
| models                    | hash   | fine-tuned model id -> job id                              |
| names                     | hash   | the model id that a job has or will have -> job id         |
| recovery                  | string | the last `flant5 recover`, as JSON                         |
| forgotten                 | set    | deletions whose files are not yet all gone: the id of a    |
|                           |        | job, `{job}/model`, `{job}/checkpoint-{step}`              |
| counts                    | hash   | jobs by status; file checks that ended, by verdict:        |
|                           |        | accepted, rejected; webhooks_delivered, _failed (tries),   |
|                           |        | _given_up; shipments_done, _failed (tries), _given_up      |
| webhooks                  | hash   | endpoint -> which ends of jobs it is told of, as JSON      |
| webhook:{endpoint}:due    | zset   | ids of events by the time of their next delivery, in ms    |
| webhook:{endpoint}:ends   | hash   | id of an event -> job_id, status, created_at, as JSON      |
| webhook:{endpoint}:tries  | hash   | id of an event -> deliveries begun                         |
| integrations              | hash   | type -> owners who may use it, as JSON                     |
| shipments                 | zset   | `{job}/{type}` of integrations that have something to be   |
|                           |        | told, by when they are due, in ms                          |
| shipments:news            | hash   | `{job}/{type}` -> how often there was something to tell    |
| shipments:tries           | hash   | `{job}/{type}` -> tries in a row that failed               |
| shipments:failing         | hash   | `{job}/{type}` -> when the first of these failed, in ms    |
| service                   | string | id of the service whose HOME belongs here                  |
| pulse                     | string | name of the keeper's newest file in HOME/service/pulse; 30 s|
| submission:{key}          | string | id of the job that a submission key made; 24 h             |
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
|                           |        | not record it), wished_at (of the last wish of a caller);  |
|                           |        | while it runs: workers (its leader first), rendezvous      |
|                           |        | (where they meet)                                          |
| job:{id}:members          | zset   | the workers beside the leader, by their last sign of life  |
| job:{id}:ends             | hash   | worker -> how its part of the attempt ended, as JSON       |
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

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.ended import EndedJobs
from worker.jobs.errors import InvalidRequestError, LimitReachedError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.gangs import Gangs
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.known import SUBMISSION_SECONDS
from worker.jobs.leases import Leases
from worker.jobs.life import Status
from worker.jobs.listing import list_jobs
from worker.jobs.model_index import ModelIndex, no_fine_tuned
from worker.jobs.records import encode_events, read_job
from worker.jobs.rules import Rules
from worker.jobs.scripts import Scripts
from worker.jobs.spec import JobSpec
from worker.jobs.standing import Standing, read_standings
from worker.jobs.update import NewEvent


class JobStore:
    """All jobs. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, rules: Rules | None = None) -> None:
        rules = rules or Rules()
        self._redis = redis
        self._rules = rules
        self.scripts = Scripts(redis, rules)
        self.leases = Leases(redis, self.scripts, rules)
        self.gangs = Gangs(redis, self.scripts)
        self.models = ModelIndex(redis)
        self.ended = EndedJobs(redis, self.scripts)

    def create(self, spec: JobSpec, *, owner: str = "", submission_key: str | None = None) -> Job:
        """The job that `submit` made, as it stands."""
        return self.get(self.submit(spec, owner=owner, submission_key=submission_key))

    def submit(self, spec: JobSpec, *, owner: str = "", submission_key: str | None = None) -> str:
        """The id of the new job, or of the one that an earlier call with this submission key made.

        Raises LimitReachedError when as many jobs of this owner wait as may, and
        InvalidRequestError for a job's model, or a checkpoint of it, that was deleted.
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
            self._rules.max_waiting,
            spec.hyperparameters.num_gpus,
            spec.priority,
            spec.hyperparameters.num_nodes,
        )
        if reason == ["model"]:
            raise InvalidRequestError(f"model: {no_fine_tuned(spec.model)}", param="model")
        if job_id is None:
            raise LimitReachedError(
                f"{reason[0]} jobs of yours are waiting, as many as may; send this one when one "
                "of them has started or was cancelled"
            )
        return str(job_id)

    def get(self, job_id: str) -> Job:
        with unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        if not fields:
            raise NotFoundError(f"no job {job_id!r}")
        return read_job(job_id, fields)

    def owner_of(self, job_id: str) -> str:
        """The owner of a job, '' for nobody in particular. Raises NotFoundError."""
        with unavailable():
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
        """Newest first, beginning after the job `after`; with `metadata`, only jobs that carry
        all of these pairs; with `owner`, only the jobs of that owner."""
        index = keys.JOBS if owner is None else keys.jobs_of(owner)
        with unavailable():
            return list_jobs(self._redis, index, after=after, limit=limit, metadata=metadata or {})

    def cancel(self, job_id: str, *, with_checkpoint: bool = False) -> Job:
        """A job that does not run is cancelled at once; a running one is asked to stop."""
        return self._cancelled(job_id, "save" if with_checkpoint else "force", "")

    def give_up(self, job_id: str) -> Job:
        """Cancels a job that was never acknowledged; its submission, sent again, is to make
        another one."""
        return self._cancelled(job_id, "force", "given_up")

    def _cancelled(self, job_id: str, how: str, mark: str) -> Job:
        before = self.scripts.run("cancel", job_id, how, mark)
        if before is None:
            raise NotFoundError(f"no job {job_id!r}")
        if Status(before).is_final:
            raise InvalidRequestError(
                f"job {job_id} has {before}; only a job that has not ended can be cancelled"
                if before != Status.CANCELLED
                else f"job {job_id} was cancelled before"
            )
        return self.get(job_id)

    def pause(self, job_id: str) -> Job:
        """A job that does not run is paused at once; a running one saves a checkpoint first."""
        return self._wished("pause", job_id, expected="a job that waits or runs can be paused")

    def resume(self, job_id: str) -> Job:
        """A paused, failed or cancelled job goes back to its place in the queue, and on from its
        newest checkpoint; a pause that was not yet carried out is taken back."""
        expected = "a paused, failed or cancelled job can be resumed"
        return self._wished("resume", job_id, expected=expected)

    def _wished(self, script: str, job_id: str, *, expected: str) -> Job:
        before, is_done = self.scripts.run(script, job_id)
        if before is None:
            raise NotFoundError(f"no job {job_id!r}")
        job = self.get(job_id)
        if not is_done:
            status = "is being cancelled" if job.is_cancelling else f"is {before}"
            raise InvalidRequestError(f"job {job_id} {status}; only {expected}")
        return job

    def unknown(self, job_ids: Sequence[str]) -> tuple[str, ...]:
        """Those of the ids that no job here has, in their order."""
        with unavailable(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.exists(keys.job(job_id))
            found = pipeline.execute()
        return tuple(each for each, is_here in zip(job_ids, found, strict=True) if not is_here)

    def standings(self, job_ids: Sequence[str]) -> tuple[Standing | None, ...]:
        """How the store has each of the jobs, in the order of the ids."""
        return read_standings(self._redis, job_ids)

    def note_wish(self, job_id: str) -> None:
        """The last wish of the job is carried out already, and counts as of now."""
        self.scripts.run("note_wish", job_id)

    def mend(self, job_ids: Sequence[str], *, lease_seconds: float) -> tuple[tuple[str, str], ...]:
        """Adds index entries of the jobs that are missing and removes stale ones. An id with what
        was found, for each: `missing` for a job that is not here, `model` for one whose model is
        not in the index, else the entry."""
        found = self.scripts.run("mend", int(lease_seconds * 1000), *job_ids)
        return tuple((job_id, what) for job_id, what in found)

    def is_empty(self) -> bool:
        """Whether there is no job at all."""
        with unavailable():
            return not self._redis.exists(keys.JOBS)

    def num_to_validate(self) -> int:
        """Jobs whose files are not yet checked, or are being checked."""
        with unavailable():
            return self._redis.zcard(keys.VALIDATING)

    def to_validate(self, limit: int) -> tuple[Job, ...]:
        """Jobs whose files are to be checked, oldest first."""
        with unavailable():
            ids = cast(tuple[str, ...], self._redis.zrange(keys.VALIDATING, 0, limit - 1))
        return tuple(self.get(job_id) for job_id in ids)

    def accept(self, job_id: str, warnings: Sequence[NewEvent] = ()) -> bool:
        """validating_files -> queued, after the warnings about its files; False when the job is
        elsewhere by now."""
        return bool(self.scripts.run("accept", job_id, encode_events(warnings)))

    def reject(self, job_id: str, error: JobError) -> bool:
        """validating_files -> failed; False when the job is elsewhere by now."""
        return bool(self.scripts.run("reject", job_id, error.model_dump_json()))


def _new_job_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "ftjob-" + "".join(secrets.choice(alphabet) for _ in range(24))

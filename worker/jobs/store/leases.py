"""The workers' side of the store: claims, heartbeats, updates and outcomes, fenced by the epoch.

Jobs on several nodes also need messages between their workers. A **gang** is the workers of one
attempt. Its **leader** holds the lease and reports for the job. Each other worker is a **member**
and runs one node. A worker that waits for a gang has a **seat**. The messages between leader and
members are fenced by the epoch too, and removed when the attempt ends.
"""

import secrets
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict
from redis import Redis

from flant5_train.protocol.failure import FailureCode
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job, Status
from worker.jobs.logging import redacted
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts, translate_redis_errors
from worker.jobs.store.serialization import (
    Claim,
    Failed,
    HeartbeatDirective,
    InfraFailure,
    Offsets,
    OffsetsMovedError,
    Outcome,
    Succeeded,
    Update,
    encode_update,
    read_job,
)


@dataclass(frozen=True, slots=True)
class PendingGang:
    """A worker's place in the gang that a job waits for."""

    job_id: str
    is_new: bool
    """False if the worker had this seat at its previous request too."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A worker's assignment to one node of an attempt that another worker leads."""

    job: Job
    epoch: int
    worker: str
    node: int
    """Rank of the node, from 1: the leader runs node 0."""


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """The leader's address, to which the ranks of all nodes connect."""

    address: str
    port: int


class MemberEnd(BaseModel):
    """A member's report on the end of its node."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["done", "failed", "stops", "left"]
    """`stops`: its worker is shutting down while the ranks still run. `left`: it shut down before
    they could save. After `failed` and `left` the other nodes can't continue."""
    code: FailureCode = FailureCode.WORKER_LOST
    """The cause of the failure."""
    message: str = ""
    param: str | None = None
    killed_by: int | None = None
    """The signal that killed a process."""
    words: tuple[str, ...] = ()
    """The last lines of the node's log."""

    @property
    def is_last(self) -> bool:
        """True if the worker has left the gang."""
        return self.kind != "stops"


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """The status of a member, for its leader."""

    worker: str
    node: int
    silent_seconds: float | None
    """Seconds since its last heartbeat; None once it has left the gang."""
    end: MemberEnd | None


class Gangs:
    """Gang state. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def leave_gang(self, worker: str) -> Membership | None:
        """Gives up the worker's seat. Returns its membership if the gang was completed just
        before."""
        answer = self._scripts.run("leave_gang", worker)
        return None if answer is None else self.membership(worker, answer)

    def membership(self, worker: str, answer: list[str]) -> Membership:
        """Returns the membership in a script's answer {'member', id, epoch, node}."""
        _, job_id, epoch, node = answer
        with translate_redis_errors():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        return Membership(
            job=read_job(job_id, fields), epoch=int(epoch), worker=worker, node=int(node)
        )

    def publish_rendezvous(self, claim: Claim, at: Rendezvous) -> bool:
        """Publishes the rendezvous to the members; False if the claim no longer holds the job."""
        return bool(
            self._scripts.run(
                "publish_rendezvous", claim.job.id, claim.epoch, f"{at.address} {at.port}"
            )
        )

    def heartbeat(self, membership: Membership) -> tuple[HeartbeatDirective, Rendezvous | None]:
        """Records a heartbeat of a member. Returns LOST if the attempt is over, and the rendezvous
        once it is known."""
        args = (membership.job.id, membership.epoch, membership.worker)
        answer = self._scripts.run("member_heartbeat", *args)
        if answer == "over":
            return HeartbeatDirective.LOST, None
        if not answer:
            return HeartbeatDirective.GO_ON, None
        address, port = answer.split(" ")
        return HeartbeatDirective.GO_ON, Rendezvous(address, int(port))

    def end(self, membership: Membership, end: MemberEnd) -> bool:
        """Reports the end of a node to the leader; False if the attempt is already over."""
        args = (membership.job.id, membership.epoch, membership.worker)
        return bool(self._scripts.run("member_end", *args, end.model_dump_json(), int(end.is_last)))

    def members(self, claim: Claim) -> tuple[MemberStatus, ...]:
        """Returns the members by node; empty if the claim no longer holds the job."""
        found = self._scripts.run("members", claim.job.id, claim.epoch)
        return tuple(
            MemberStatus(
                worker=name,
                node=number,
                silent_seconds=None if silent_ms < 0 else silent_ms / 1000,
                end=MemberEnd.model_validate_json(end) if end else None,
            )
            for number, (name, silent_ms, end) in enumerate(found, start=1)
        )


class Leases:
    """Leases of jobs. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts, policy: QueuePolicy) -> None:
        self._redis = redis
        self._scripts = scripts
        self._policy = policy
        self._gangs = Gangs(redis, scripts)

    def claim(self, *, worker: str, num_slots: int, lease_seconds: float) -> Claim | None:
        """Moves the best job that fits into `num_slots` from queued to running, under a new epoch.

        Returns None when there is nothing to claim. The worker does not wait for a gang: it leads a
        job of several nodes only if enough other workers have a seat there.
        """
        found = self._look(worker, num_slots, lease_seconds, seat_seconds=0)
        return found if isinstance(found, Claim) else None

    def claim_or_wait_for_gang(
        self, *, worker: str, num_slots: int, lease_seconds: float
    ) -> Claim | Membership | PendingGang | None:
        """As `claim`, but may wait for the gang of a job of several nodes.

        Returns a seat for `QueuePolicy.gang_wait_seconds` if there are enough workers. Returns a
        membership if another worker has begun the attempt meanwhile.
        """
        return self._look(
            worker, num_slots, lease_seconds, seat_seconds=self._policy.gang_wait_seconds
        )

    def claim_or_join(
        self, *, worker: str, num_slots: int, lease_seconds: float
    ) -> Claim | Membership | None:
        """As `claim_or_wait_for_gang`, but the worker gives up its seat and takes no other."""
        found = self._look(worker, num_slots, lease_seconds, seat_seconds=0)
        assert not isinstance(found, PendingGang), "no seat was requested"
        return found

    def _look(
        self, worker: str, num_slots: int, lease_seconds: float, *, seat_seconds: float
    ) -> Claim | Membership | PendingGang | None:
        answer = self._scripts.run(
            "claim",
            worker,
            num_slots,
            int(lease_seconds * 1000),
            secrets.token_hex(16),
            self._policy.max_running,
            int(self._policy.left_seconds * 1000),
            int(seat_seconds * 1000),
        )
        if answer is None:
            return None
        if answer[0] == "claimed":
            return self.claim_of(answer[1])
        if answer[0] == "member":
            return self._gangs.membership(worker, answer)
        return PendingGang(job_id=answer[1], is_new=bool(answer[2]))

    def claim_of(self, job_id: str) -> Claim:
        """Returns the claim of the job's current epoch."""
        with translate_redis_errors():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        job = read_job(job_id, fields)
        offsets = Offsets(
            progress=int(fields.get("progress_offset", 0)), log=int(fields.get("log_offset", 0))
        )
        return Claim(job=job, epoch=job.epoch, attempt=job.attempt, offsets=offsets)

    def heartbeat(self, claim: Claim, lease_seconds: float) -> HeartbeatDirective:
        """Extends the lease, and returns whether to continue, pause, cancel or stop."""
        lease_ms = int(lease_seconds * 1000)
        return HeartbeatDirective[
            self._scripts.run("heartbeat", claim.job.id, claim.epoch, lease_ms).upper()
        ]

    def record(self, claim: Claim, update: Update) -> bool:
        """Stores an update atomically; False if the claim no longer holds the job.

        Raises OffsetsMovedError if the update does not begin at the store's offsets.
        """
        answer = self._scripts.run("record", claim.job.id, claim.epoch, encode_update(update))
        if answer[0] == "moved":
            raise OffsetsMovedError(Offsets(progress=answer[1], log=answer[2]))
        return bool(answer[0] == "recorded")

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """Moves a running job to a final status; True also if it already ended this way."""
        return bool(self._scripts.run_durably("finish", *_finish_args(claim, outcome)))

    def finish_restored(self, claim: Claim, outcome: Outcome, *, finished_at: float) -> bool:
        """As `finish` at `finished_at`, but without waiting for the server's disk: HOME has the
        record of a restored job anyway, and the waits of a thousand jobs would add up."""
        args = (*_finish_args(claim, outcome), int(finished_at * 1000))
        return bool(self._scripts.run("finish", *args))

    def release(
        self, claim: Claim, *, reason: str, infra_failure: InfraFailure | None = None
    ) -> Status:
        """Requeues the job, or pauses or cancels it if that was requested. Returns the new status.

        A loss counts, and one too many fails the job. Without a loss the attempt is not counted.
        """
        loss_args = (infra_failure.counts_as, infra_failure.code) if infra_failure else ("", "")
        status = self._scripts.run(
            "release", claim.job.id, claim.epoch, redacted(reason), *loss_args
        )
        if status is None:
            raise NotFoundError(f"no job {claim.job.id!r}")
        return Status(status)

    def outdate(self, claim: Claim, *, above: int) -> bool:
        """Requeues the job under an epoch higher than `above`. A store that went back in time has
        given out the claim's epoch although `above` was given out before."""
        return bool(self._scripts.run("outdate", claim.job.id, claim.epoch, above))

    def release_worker(
        self, worker: str, *, reason: str = "its worker was restarted", only: str | None = None
    ) -> tuple[str, ...]:
        """Requeues the jobs that this worker holds or takes part in, as lost; with `only`, just
        that job. Returns their ids."""
        return tuple(self._scripts.run("release_worker", worker, reason, only or ""))

    def reap(self, limit: int) -> tuple[str, ...]:
        """Requeues jobs with an expired lease, as lost. Returns their ids."""
        return tuple(self._scripts.run("reap", limit))

    def pending_notifications(
        self, older_than_seconds: float, limit: int, *, idle_seconds: float | None = None
    ) -> tuple[str, ...]:
        """Returns queued jobs that need another wake-up message, and marks them as notified.

        The last one was never sent or is older than `older_than_seconds`. While a worker that could
        take the job is idle, `idle_seconds` applies instead.
        """
        idle = older_than_seconds if idle_seconds is None else idle_seconds
        args = (int(older_than_seconds * 1000), limit, int(idle * 1000))
        return tuple(self._scripts.run("pending_notifications", *args))


def _finish_args(claim: Claim, outcome: Outcome) -> tuple[str, int, str, str, str]:
    status, model, error = Status.CANCELLED, "", ""
    if isinstance(outcome, Succeeded):
        status, model = Status.SUCCEEDED, outcome.fine_tuned_model
    elif isinstance(outcome, Failed):
        status, error = Status.FAILED, outcome.error.model_dump_json()
    return claim.job.id, claim.epoch, status.value, model, error

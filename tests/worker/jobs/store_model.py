"""A plain model of the store: what must be true of a job after each step."""

from dataclasses import dataclass, replace
from typing import Any

from worker.jobs.job import JobError, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.serialization import (
    Cancelled,
    Failed,
    HeartbeatDirective,
    InfraFailure,
    Outcome,
    Succeeded,
)

RULES = QueuePolicy(
    max_infra_retries=2, retry_seconds=0, max_waiting=4, max_running=2, left_seconds=0
)


MAX_FAILURES = 2


SIZES = (1, 2, 4)


OWNERS = ("alice", "bob")


OUTCOMES: dict[Status, Outcome] = {
    Status.SUCCEEDED: Succeeded("ft:x"),
    Status.FAILED: Failed(JobError(code="x", message="y")),
    Status.CANCELLED: Cancelled(),
}


LOSSES = (None, InfraFailure("worker_lost"), InfraFailure("host_oom", counts_as="failures"))


WAITING = (Status.VALIDATING_FILES, Status.QUEUED, Status.PAUSED)


RESUMABLE = (Status.PAUSED, Status.FAILED, Status.CANCELLED)


BEATS = {
    "force": HeartbeatDirective.CANCEL,
    "save": HeartbeatDirective.CANCEL_SAVE,
    None: HeartbeatDirective.GO_ON,
}


@dataclass(frozen=True)
class Model:
    """What must be true of one job."""

    number: int
    owner: str
    num_slots: int
    priority: int
    status: Status = Status.VALIDATING_FILES
    is_accepted: bool = False
    epoch: int = 0
    attempt: int = 0
    losses: int = 0
    failures: int = 0
    floor: int = -1
    cancel: str | None = None
    pause: bool = False
    offset: int = 0
    num_lines: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.priority, self.number)

    def to(self, status: Status, **changes: Any) -> "Model":
        if status.is_final or status is Status.PAUSED:
            changes["pause"] = False
        return replace(self, status=status, **changes)

    def given_back(self, infra_failure: InfraFailure | None) -> "Model":
        shut_out = replace(self, epoch=self.epoch + 1)
        if self.cancel:
            return shut_out.to(Status.CANCELLED)
        if infra_failure is None:
            shut_out = replace(shut_out, attempt=self.attempt - 1)
        elif infra_failure.counts_as == "losses":
            shut_out = replace(shut_out, losses=self.losses + 1)
        else:
            shut_out = replace(shut_out, failures=self.failures + 1)
        is_too_many = (
            shut_out.losses >= RULES.max_infra_retries or shut_out.failures >= MAX_FAILURES
        )
        if infra_failure is not None and is_too_many:
            return shut_out.to(Status.FAILED)
        return shut_out.to(Status.PAUSED if self.pause else Status.QUEUED)

    def resumed(self) -> "Model":
        to = Status.QUEUED if self.is_accepted else Status.VALIDATING_FILES
        if self.status is Status.PAUSED:
            return self.to(to)
        epoch = self.epoch + 1
        return self.to(to, epoch=epoch, floor=epoch, cancel=None, losses=0, failures=0)

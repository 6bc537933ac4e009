"""A job on several nodes, as its workers tell each other of it.

A **gang** is the workers of one attempt. Its **leader** holds the lease and speaks for the job;
each other is a **member**, with a node of its own. A worker that waits for others sits at a job.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from flant5_train.failure import FailureCode
from worker.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Seat:
    """The worker waits for others at this job."""

    job_id: str
    is_new: bool
    """Whether it sat elsewhere, or nowhere, when it asked before."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The right and the duty to run one node of an attempt that another worker leads."""

    job: Job
    epoch: int
    worker: str
    node: int
    """From 1: node 0 is the leader's."""


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where the ranks of all nodes meet: the leader listens there."""

    address: str
    port: int


class MemberEnd(BaseModel):
    """What a member says of the end of its node."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["done", "failed", "stops", "left"]
    """`stops`: its worker is to stop, its ranks still run; `left`: it has, before they could save.
    After `failed` and `left` the others can't go on."""
    code: FailureCode = FailureCode.WORKER_LOST
    """Why it failed."""
    message: str = ""
    param: str | None = None
    killed_by: int | None = None
    """The signal that ended a process."""
    words: tuple[str, ...] = ()
    """The last lines of its log."""

    @property
    def is_last(self) -> bool:
        """Whether the worker takes part no longer."""
        return self.kind != "stops"


@dataclass(frozen=True, slots=True)
class MemberNews:
    """A member as its leader sees it."""

    worker: str
    node: int
    silent_seconds: float | None
    """Since its last sign of life; None when it takes part no longer."""
    end: MemberEnd | None

"""Messages between the workers of a job on several nodes.

A **gang** is the workers of one attempt. Its **leader** holds the lease and reports for the job.
Each other worker is a **member** and runs one node. A worker that waits for a gang has a **seat**.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from flant5_train.protocol.failure import FailureCode
from worker.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Seat:
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
class MemberNews:
    """The status of a member, for its leader."""

    worker: str
    node: int
    silent_seconds: float | None
    """Seconds since its last heartbeat; None once it has left the gang."""
    end: MemberEnd | None

"""Requests and status of the recovery of jobs after the store lost data.

A caller requests it, or the keeper that noticed a loss. The keeper rebuilds the records of the jobs
from their run directories (`worker.keeper.recovery`). Its status and findings are JSON in one key
of the store, `flant5:recovery`.
"""

import time
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

from worker.jobs.life import Status
from worker.jobs.scripts import Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable


class RestoredJob(BaseModel):
    """A job that was restored or brought up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job's id."""
    status: Status
    """The status right after the recovery."""


class Problem(BaseModel):
    """The reason why a job was not restored, or not with all of its history."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job's id."""
    message: str
    """The found value, its file and the expected value."""


class Recovery(BaseModel):
    """The last recovery; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["requested", "running", "done"]
    requested_at: float
    cause: str | None = None
    """The evidence by which a keeper noticed a loss; None for a caller's request."""
    finished_at: float | None = None
    num_found: int = 0
    """Jobs with a record on disk."""
    num_known: int = 0
    """Jobs with a record that the store still had."""
    restored: tuple[RestoredJob, ...] = ()
    problems: tuple[Problem, ...] = ()


class RecoveryDesk:
    """Requests a recovery, and reads and updates its state. Every method raises
    StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def request(self, *, cause: str | None = None) -> Recovery:
        """Requests a recovery. Returns it, or the one that is in progress."""
        while True:
            known = self.state()
            if known is not None and known.status != "done":
                return known
            wanted = Recovery(status="requested", requested_at=time.time(), cause=cause)
            if self.replace(known, wanted):
                return wanted

    def state(self) -> Recovery | None:
        """Returns the last recovery; None if this store has had none."""
        with unavailable():
            text = cast(str | None, self._redis.get(keys.RECOVERY))
        return None if text is None else Recovery.model_validate_json(text)

    def replace(self, known: Recovery | None, new: Recovery) -> bool:
        """Replaces the state if it is still `known`. Otherwise changes nothing and returns False:
        another process has changed it, or the store was lost again. A repeated call returns True
        too."""
        texts = ("" if known is None else _text(known), _text(new))
        return bool(self._scripts.run("recovery", *texts)) or self.state() == new


def _text(recovery: Recovery) -> str:
    """Encodes a recovery. A missing cause is left out as in older texts, because texts are
    compared."""
    return recovery.model_dump_json(exclude={"cause"} if recovery.cause is None else None)

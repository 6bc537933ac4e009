"""The recovery of jobs after the store lost data: asked for by a caller or by the keeper that
noticed a loss, done by a keeper.

The keeper rebuilds the records of the jobs from their run directories (`worker.keeper.recovery`).
What it finds and how far it is stands in one key of the store, `flant5:recovery`, as JSON.
"""

import time
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.life import Status
from worker.jobs.scripts import Scripts


class RestoredJob(BaseModel):
    """A job that is back or brought up to date, and the status it had right after that."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job."""
    status: Status
    """What it was right after it came back."""


class Problem(BaseModel):
    """Why a job is not back, or not with all of its history."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The job."""
    message: str
    """What was found, in which file, what was expected."""


class Recovery(BaseModel):
    """The last recovery; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Literal["requested", "running", "done"]
    requested_at: float
    cause: str | None = None
    """The sign by which a keeper noticed a loss; None when a caller asked."""
    finished_at: float | None = None
    num_found: int = 0
    """Jobs with a record on disk."""
    num_known: int = 0
    """Those of them that the store had anyway."""
    restored: tuple[RestoredJob, ...] = ()
    problems: tuple[Problem, ...] = ()


class RecoveryDesk:
    """Where a recovery is asked for and looked up. Every method raises StoreUnavailableError when
    Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def request(self, *, cause: str | None = None) -> Recovery:
        """A new recovery, or the one that is under way."""
        while True:
            known = self.state()
            if known is not None and known.status != "done":
                return known
            wanted = Recovery(status="requested", requested_at=time.time(), cause=cause)
            if self.replace(known, wanted):
                return wanted

    def state(self) -> Recovery | None:
        """None when none was asked for since the store was empty."""
        with unavailable():
            text = cast(str | None, self._redis.get(keys.RECOVERY))
        return None if text is None else Recovery.model_validate_json(text)

    def replace(self, known: Recovery | None, new: Recovery) -> bool:
        """False when the recovery is no longer as known, and nothing was changed: somebody else
        is at it, or the store was lost once more. True also when it came a second time."""
        texts = ("" if known is None else _text(known), _text(new))
        return bool(self._scripts.run("recovery", *texts)) or self.state() == new


def _text(recovery: Recovery) -> str:
    """Without a cause as it was written before there were causes: texts are compared."""
    return recovery.model_dump_json(exclude={"cause"} if recovery.cause is None else None)

"""Job statuses and the transitions between them, in one table.

validating_files -> queued -> running -> succeeded | failed | cancelled
       ^   |         ^  |       | |                    |         |
       |   v         |  v       | |                    v         v
       +-- paused ---+ paused <-+ |               back by a caller's resume
                     ^            |
                     +------------+   the worker stopped or was lost: back into the queue
"""

from enum import StrEnum


class Status(StrEnum):
    """The status of a job. A pending request (cancel, pause) is a separate flag."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True if the job has ended; only a caller can resume it."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


_RESUMED = frozenset({Status.QUEUED, Status.VALIDATING_FILES})
"""VALIDATING_FILES: the files never passed their check."""

NEXT: dict[Status, frozenset[Status]] = {
    Status.VALIDATING_FILES: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.FAILED, Status.CANCELLED}
    ),
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: _RESUMED | {Status.CANCELLED},
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: _RESUMED,
    Status.CANCELLED: _RESUMED,
}
"""All allowed transitions; each Lua script of the store makes one of them."""

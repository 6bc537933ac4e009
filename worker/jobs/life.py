"""The life of a job: its statuses and the steps between them, in one table.

validating_files -> queued -> running -> succeeded | failed | cancelled
       ^   |         ^  |       | |                    |         |
       |   v         |  v       | |                    v         v
       +-- paused ---+ paused <-+ |               back by a caller's resume
                     ^            |
                     +------------+   the worker stopped or was lost: back into the queue
"""

from enum import StrEnum


class Status(StrEnum):
    """What is true of a job. A wish (cancel, pause) is a flag beside it, not a status."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


_RESUMED = frozenset({Status.QUEUED, Status.VALIDATING_FILES})
"""Back to the check of the files when they were never found good."""

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
"""The only steps there are; each Lua script of the store makes one of them."""

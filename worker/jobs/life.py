"""The life of a job: its statuses and the steps between them, in one table.

validating_files -> queued -> running -> succeeded | failed | cancelled
                       ^         |
                       +---------+   the worker stopped or was lost: back into the queue
"""

from enum import StrEnum


class Status(StrEnum):
    """What is true of a job. A wish (cancel) is a flag beside it, not a status."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not NEXT[self]


NEXT: dict[Status, frozenset[Status]] = {
    Status.VALIDATING_FILES: frozenset({Status.QUEUED, Status.FAILED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
"""The only steps there are; each Lua script of the store makes one of them."""

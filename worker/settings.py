"""The environment variables of the worker and of the keeper."""

import os
import socket
from dataclasses import replace
from typing import Self

from pydantic import Field, field_validator, model_validator

from worker.hub_token import HubTokenSettings
from worker.jobs.rules import Rules
from worker.processes.environment_policy import variable_names

KILL_SECONDS = 1.0
"""Time to end a trainer's whole tree, with room to spare (measured: 0.12 s)."""


class WorkerSettings(HubTokenSettings):
    """Built once in `python -m worker` and `python -m worker.keeper`."""

    worker_name: str = Field(default_factory=socket.gethostname, pattern=r"^[\w.-]{1,128}$")
    """Name of this worker, its own among all; a restarted worker finds its jobs by it."""
    lease_seconds: float = Field(120.0, gt=0)
    """Time without a sign of life after which a worker's job goes back into the queue."""
    beat_seconds: float = Field(1.0, gt=0)
    """Time between two signs of life; also how soon a cancellation is seen."""
    self_fence_seconds: float = Field(80.0, gt=0)
    """Time without an answer from Redis after which a worker ends its own trainer."""
    redis_timeout_seconds: float = Field(2.0, gt=0)
    """Time one call to Redis may take."""
    trainer_grace_seconds: float = Field(60.0, ge=0)
    """Time a trainer gets to save a checkpoint when its worker stops."""
    train_log_bytes: int = Field(2**30, ge=0)
    """Size at which a job's `train.log` takes no more: of what comes then only the end is kept. 0
    is no limit."""
    stall_seconds: float = Field(3600.0, ge=0)
    """Time without a step, while it trains or saves, after which a trainer counts as hung: its
    attempt is lost. 0 waits for ever."""
    poll_seconds: float = Field(0.25, gt=0)
    """Time between two looks at what the trainer wrote."""
    max_losses: int = Field(5, ge=1)
    """Attempts that may be lost in a row without a new checkpoint; then the job has failed."""
    retry_seconds: float = Field(2.0, ge=0)
    """Pause before the attempt after the second loss in a row; doubled with each further one, to
    a minute."""
    trainer_environment: str = ""
    """Names of further variables of the worker's environment that reach the trainer, separated by
    commas; docs/deploy.md lists those that always do. Names of secrets are refused."""
    slots: str = "auto"
    """The GPUs this worker owns: `0,1`, UUIDs, `cpu-0,cpu-1` for processes without a GPU, or
    `auto`: CUDA_VISIBLE_DEVICES, else all GPUs, else one CPU slot per core."""
    probe_command: str | None = None
    """A command of your own that tells before each job whether the GPUs are fit: it gets their
    names as arguments and ends with 0 when they are; unset means a short test by CUDA."""
    probe_seconds: float = Field(30.0, gt=0)
    """Time the test of the GPUs may take."""
    gang_seconds: float = Field(5.0, ge=0)
    """Time a worker waits for others at a job of several nodes; after that it looks for another
    job."""
    node_address: str | None = Field(None, pattern=r"^\S*$")
    """Address at which other workers reach this one when it leads a job of several nodes; default:
    that of the host's name."""
    node_port: int = Field(0, ge=0, le=65535)
    """Port for that; 0 means a free one."""
    presence_seconds: float = Field(20.0, gt=0)
    """Time after which a worker that says nothing counts as gone."""
    keeper_seconds: float = Field(0.5, gt=0)
    """Time between two rounds of the keeper."""
    doorbell_seconds: float = Field(30.0, gt=0)
    """Age at which the doorbell of a waiting job is rung again when the queue is empty."""
    check_seconds: float = Field(1800.0, gt=0)
    """Time the check of one file may take."""
    max_checks: int = Field(2, ge=1)
    """Files checked at the same time."""
    keep_checkpoints_days: float = Field(0.0, ge=0)
    """Age at which the checkpoints of an ended job are removed, counted from its end; its model,
    logs and result stay. 0 keeps them for ever."""
    keep_jobs_days: float = Field(0.0, ge=0)
    """Age at which a failed or cancelled job is removed with all its files, counted from its end.
    0 keeps it for ever; a job that succeeded always stays."""
    keep_cache_days: float = Field(0.0, ge=0)
    """Time without use after which encoded conversations are removed from the cache; they can be
    encoded again. 0 keeps them for ever."""
    keep_audit_days: float = Field(0.0, ge=0)
    """Age at which a day of the audit log is removed, counted from its end. 0 keeps it for
    ever."""

    @property
    def trainer_environment_names(self) -> tuple[str, ...]:
        return variable_names(self.trainer_environment)

    @property
    def rules(self) -> Rules:
        return replace(super().rules, max_losses=self.max_losses, retry_seconds=self.retry_seconds)

    @field_validator("trainer_environment")
    @classmethod
    def _expect_names(cls, names: str) -> str:
        variable_names(names)
        return names

    @model_validator(mode="after")
    def _fences_before_the_lease_ends(self) -> Self:
        # The worst case: a pump and a beat that each connect anew and then wait for an answer.
        calls = 4 * self.redis_timeout_seconds
        latest = self.self_fence_seconds + self.beat_seconds + calls + KILL_SECONDS
        if latest >= self.lease_seconds:
            raise ValueError(
                f"lease_seconds is {self.lease_seconds:g}: another worker may start then, but one "
                f"without Redis ends its trainer only after up to {latest:g} s (self_fence_seconds "
                f"+ beat_seconds + 4 redis_timeout_seconds + {KILL_SECONDS:g}); "
                "expected a longer lease_seconds"
            )
        return self


def inherited_environment() -> dict[str, str]:
    """The environment of this process, for choosing what a trainer gets of it."""
    return dict(os.environ)

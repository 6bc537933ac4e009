"""The environment variables of the worker and of the controller.

One of them is the access token for private and gated base models on a model hub.
"""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from worker.jobs.rules import QueuePolicy
from worker.jobs.settings import SharedSettings
from worker.processes.environment_policy import variable_names


class HubTokenSettings(SharedSettings):
    """Settings of processes that start a program which loads base models."""

    hub_token_file: Path | None = None
    """File with a token for private or gated base models. An empty file means no token. Every job
    can use these models, within the limits of `hub_models`."""

    @property
    def hub_environment(self) -> dict[str, str]:
        """Variables for such a program: the path only, to keep the token out of environments."""
        if self.hub_token_file is None:
            return {}
        return {"HF_TOKEN_PATH": str(self.hub_token_file.resolve())}

    @model_validator(mode="after")
    def _expect_one_token(self) -> Self:
        if self.hub_token_file is None:
            return self
        try:
            text = self.hub_token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"FLANT5_HUB_TOKEN_FILE {self.hub_token_file} can't be read: {error}"
            ) from error
        if len(text.split()) > 1:
            raise ValueError(
                f"FLANT5_HUB_TOKEN_FILE {self.hub_token_file} has more than one token; expected "
                "a single token"
            )
        return self


KILL_SECONDS = 1.0
"""Upper bound on the seconds it takes to kill a trainer's process tree (measured: 0.12 s)."""


class WorkerSettings(HubTokenSettings):
    """Built once in `python -m worker` and `python -m worker.controller`."""

    worker_name: str = Field(default_factory=socket.gethostname, pattern=r"^[\w.-]{1,128}$")
    """Unique name of this worker. A restarted worker finds its jobs by it."""
    lease_seconds: float = Field(120.0, gt=0)
    """Seconds without a heartbeat after which a worker's job is queued again."""
    heartbeat_interval_seconds: float = Field(1.0, gt=0)
    """Seconds between two heartbeats. Also the delay until a worker sees a cancellation."""
    self_fence_seconds: float = Field(80.0, gt=0)
    """Seconds without a reply from Redis after which a worker kills its own trainer."""
    redis_timeout_seconds: float = Field(2.0, gt=0)
    """Timeout of one Redis call, in seconds."""
    trainer_grace_seconds: float = Field(60.0, ge=0)
    """Seconds a trainer has to save a checkpoint when its worker stops. It is killed after that."""
    train_log_bytes: int = Field(2**30, ge=0)
    """Maximum size of a job's `train.log`, in bytes. 0 means no limit. Beyond it, only the last
    lines of an attempt are kept."""
    stall_seconds: float = Field(3600.0, ge=0)
    """Seconds without progress, while training or saving, after which a trainer counts as hung and
    is killed. The attempt counts as lost. 0 disables the check."""
    progress_poll_seconds: float = Field(0.25, gt=0)
    """Seconds between two reads of the trainer's output."""
    max_infra_retries: int = Field(5, ge=1)
    """Lost attempts in a row, without a new checkpoint, after which the job fails."""
    retry_seconds: float = Field(2.0, ge=0)
    """Seconds of delay after the second lost attempt in a row. Doubles with each further one, up to
    a minute."""
    trainer_environment: str = ""
    """Comma-separated names of additional environment variables to pass to the trainer.
    docs/deploy.md lists those that are always passed. Names of secrets are rejected."""
    slots: str = "auto"
    """The GPUs this worker owns: `0,1`, UUIDs, `cpu-0,cpu-1` for processes without a GPU, or
    `auto`: CUDA_VISIBLE_DEVICES, else all GPUs, else one CPU slot per core."""
    probe_command: str | None = None
    """Custom command that tests the GPUs before each job. It receives their names as arguments and
    exits with 0 if all are healthy. Unset: a short CUDA test."""
    gpu_probe_timeout_seconds: float = Field(30.0, gt=0)
    """Timeout of the GPU test, in seconds."""
    gang_wait_seconds: float = Field(5.0, ge=0)
    """Seconds a worker waits for other workers of a multi-node job. After that it tries another
    job."""
    node_address: str | None = Field(None, pattern=r"^\S*$")
    """Address at which other workers reach this one when it leads a multi-node job. Default: the
    address of the host name."""
    node_port: int = Field(0, ge=0, le=65535)
    """Port of `node_address`. 0 means any free port."""
    worker_ttl_seconds: float = Field(20.0, gt=0)
    """Seconds without a heartbeat after which a worker counts as gone."""
    controller_interval_seconds: float = Field(0.5, gt=0)
    """Seconds between two passes of the controller."""
    requeue_notify_seconds: float = Field(30.0, gt=0)
    """Seconds after which the wake-up of a queued job is sent again if no wake-ups are pending."""
    file_check_timeout_seconds: float = Field(1800.0, gt=0)
    """Timeout for validating one data file, in seconds."""
    max_checks: int = Field(2, ge=1)
    """Maximum number of files validated at the same time."""
    keep_checkpoints_days: float = Field(0.0, ge=0)
    """Days after a job's end at which its checkpoints are removed. The model, logs and result are
    kept. 0 keeps checkpoints forever."""
    keep_jobs_days: float = Field(0.0, ge=0)
    """Days after its end at which a failed or cancelled job is removed with all its files. 0 keeps
    it forever. Succeeded jobs are never removed."""
    keep_cache_days: float = Field(0.0, ge=0)
    """Days without use after which encoded conversations are removed from the cache. They can be
    encoded again. 0 keeps them forever."""
    keep_audit_days: float = Field(0.0, ge=0)
    """Days after its end at which a day of the audit log is removed. 0 keeps it forever."""

    @property
    def trainer_environment_names(self) -> tuple[str, ...]:
        return variable_names(self.trainer_environment)

    @property
    def queue_policy(self) -> QueuePolicy:
        return replace(
            super().queue_policy,
            max_infra_retries=self.max_infra_retries,
            retry_seconds=self.retry_seconds,
        )

    @field_validator("trainer_environment")
    @classmethod
    def _expect_names(cls, names: str) -> str:
        variable_names(names)
        return names

    @model_validator(mode="after")
    def _fences_before_the_lease_ends(self) -> Self:
        # Worst case: a pump and a beat that each reconnect and then wait for a reply.
        calls = 4 * self.redis_timeout_seconds
        latest = self.self_fence_seconds + self.heartbeat_interval_seconds + calls + KILL_SECONDS
        if latest >= self.lease_seconds:
            raise ValueError(
                f"lease_seconds is {self.lease_seconds:g}, but a worker that loses Redis may take "
                f"up to {latest:g} s to kill its trainer (self_fence_seconds "
                f"+ heartbeat_interval_seconds + 4 redis_timeout_seconds + {KILL_SECONDS:g}), "
                "while another "
                "worker may already run the job; expected a longer lease_seconds"
            )
        return self


def inherited_environment() -> dict[str, str]:
    """Returns this process's environment, from which a trainer's environment is selected."""
    return dict(os.environ)

"""A separate `flant5 up` for a benchmark: start, use over HTTP, stop."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from worker.settings import inherited_environment

_START_SECONDS = 120.0
_STOP_SECONDS = 120.0
_POLL_SECONDS = 0.1
_JOB_POLL_SECONDS = 1.0
"""Rarely, because polling takes CPU time from the measured process."""
_ENDED = ("succeeded", "failed", "cancelled")


class BenchmarkError(Exception):
    """The measured program failed; the message contains its last output."""


@dataclass(frozen=True, slots=True)
class LiveService:
    """A running service: its home, a client for its `/v1`, and the process id of `flant5 up`."""

    home: Path
    client: httpx.Client
    pid: int

    def upload(self, path: Path) -> str:
        """Uploads a file and returns its id."""
        with path.open("rb") as file:
            answer = self.client.post("/files", data={"purpose": "fine-tune"}, files={"file": file})
        return str(answer.raise_for_status().json()["id"])

    def submit(self, training_file: str, hyperparameters: dict[str, object]) -> str:
        """Creates a job on the demo model and returns its id."""
        method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
        spec = {"model": "flant5-demo", "training_file": training_file, "method": method}
        answer = self.client.post("/fine_tuning/jobs", json=spec)
        if answer.is_error:
            raise BenchmarkError(f"the job was refused: {answer.text}")
        return str(answer.json()["id"])

    def run_directory(self, job_id: str, *, max_seconds: float) -> Path:
        """Waits until the job has succeeded and returns its directory. Raises BenchmarkError."""

        def has_ended() -> bool:
            return self._job(job_id)["status"] in _ENDED

        _wait(
            has_ended, f"the end of {job_id}", seconds=max_seconds, poll_seconds=_JOB_POLL_SECONDS
        )
        job = self._job(job_id)
        if job["status"] != "succeeded":
            raise BenchmarkError(f"{job_id} {job['status']}: {job['error']}")
        return self.home / "jobs" / job_id

    def _job(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/fine_tuning/jobs/{job_id}").raise_for_status()
        job: dict[str, Any] = answer.json()
        return job


@contextmanager
def live_service(
    home: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[LiveService]:
    """Yields a service on a free port with a CPU slot and additional environment variables.

    Raises BenchmarkError if it does not start.
    """
    command = [str(Path(sys.executable).with_name("flant5")), "up"]
    log = home.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--home", str(home), "--port", "0"],
            env=inherited_environment() | {"FLANT5_SLOTS": "cpu-0"} | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        ready = home / "up.json"
        _wait(
            lambda: ready.exists() or process.poll() is not None,
            "the service to start",
            seconds=_START_SECONDS,
            poll_seconds=_POLL_SECONDS,
        )
        if process.poll() is not None:
            raise BenchmarkError(f"the service ended: {log.read_text('utf-8', 'replace')[-2000:]}")
        url = json.loads(ready.read_text(encoding="utf-8"))["url"]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield LiveService(home, client, process.pid)
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _wait(condition: Callable[[], bool], what: str, *, seconds: float, poll_seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {seconds:g} s for {what}")
        time.sleep(poll_seconds)

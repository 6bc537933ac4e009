"""A running service seen from outside: its REST API, its files, its processes."""

import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flant5_train.protocol.progress import Record, TrainingStarted, read_records

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "conversations.json"
FLANT5 = str(Path(sys.executable).with_name("flant5"))
FINAL = ("succeeded", "failed", "cancelled")
POLL_SECONDS = 0.1
"""The trainer and the API that are looked at need the same cores."""
# Otherwise each question reads the certificates of all authorities, for nothing: a third of a core.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def wait_until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Process:
    """A running process and what it is."""

    pid: int
    command: str

    @property
    def is_running(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            return _stat(self.pid)[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    @property
    def parent(self) -> int:
        return int(_stat(self.pid)[1])


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def processes_with(text: str) -> list[Process]:
    """Running processes whose command line holds `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        process = Process(int(path.parent.name), command)
        if text in command and process.is_running:
            found.append(process)
    return found


@dataclass(frozen=True, slots=True)
class Service:
    """`flant5 up` on a home of its own."""

    home: Path
    url: str

    def upload(self, path: Path) -> str:
        """The id of the uploaded file."""
        with path.open("rb") as file:
            answer = httpx.post(
                f"{self.url}/files", data={"purpose": "fine-tune"}, files={"file": file}, timeout=60
            )
        return str(answer.raise_for_status().json()["id"])

    def submit(self, training_file: str, **hyperparameters: object) -> str:
        """The id of a new job on the demo model."""
        method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
        spec = {"model": "flant5-demo", "training_file": training_file, "method": method}
        answer = httpx.post(f"{self.url}/fine_tuning/jobs", json=spec)
        return str(answer.raise_for_status().json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/fine_tuning/jobs/{job_id}", verify=NO_TLS)
        job: dict[str, Any] = answer.raise_for_status().json()
        return job

    def ended(self, job_id: str, *, seconds: float = 180) -> dict[str, Any]:
        """The job in its final state."""
        wait_until(lambda: self.job(job_id)["status"] in FINAL, seconds=seconds)
        return self.job(job_id)

    def is_beyond(self, job_id: str, step: int) -> bool:
        """Whether the job has trained more than `step` steps; it must not have ended before."""
        job = self.job(job_id)
        assert job["status"] not in FINAL, job["error"]
        return job["progress"] is not None and job["progress"]["step"] > step

    def records(self, job_id: str) -> list[Record]:
        """What the trainer has told; nothing before it has begun to."""
        path = self.home / "jobs" / job_id / "progress.jsonl"
        return list(read_records(path)) if path.exists() else []

    def starts(self, job_id: str) -> list[int]:
        """The step at which each attempt that came to training began."""
        return [
            record.step for record in self.records(job_id) if isinstance(record, TrainingStarted)
        ]

    def processes_of(self, job_id: str) -> list[Process]:
        """The supervisor, torchrun and the ranks."""
        return processes_with(f"{job_id}/run.json")

    def one_process(self, job_id: str, module: str) -> Process:
        return next(p for p in self.processes_of(job_id) if module in p.command)

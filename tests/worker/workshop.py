"""A worker in this process, with short times and a trainer program of `programs/`."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from tests.worker.scenes import queued_job, read_pids, wait_until
from worker.context import open_context
from worker.execution.runner import run_job
from worker.jobs.job import Job
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.history import JobHistory
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore
from worker.processes.trainer_process import NodeSpec
from worker.settings import WorkerSettings

PROGRAMS = Path(__file__).parent / "programs"


@dataclass
class Workshop:
    """Runs attempts in the calling thread, which must be the main thread."""

    settings: WorkerSettings
    store: JobStore
    history: JobHistory
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def data(self) -> Path:
        assert self.settings.data_root is not None
        return self.settings.data_root / "data.json"

    def new_job(self, *, max_steps: int = 6, save_steps: int = 4) -> Job:
        parameters = {"max_steps": max_steps, "save_steps": save_steps}
        return queued_job(self.store, training_file="data.json", hyperparameters=parameters)

    def run(self, job_id: str, program: str = "trains.py") -> Job:
        """The job after one attempt."""

        def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
            return [sys.executable, str(PROGRAMS / program), str(run_config)]

        context = open_context(self.settings, trainer_argv=argv, is_stopping=self.stopping.is_set)
        run_job(job_id, context)
        return self.store.get(job_id)

    def run_while(self, job_id: str, act: Callable[[], object], program: str = "trains.py") -> Job:
        """The job after one attempt during which `act` runs in another thread."""
        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)
                self.stopping.set()

        thread = threading.Thread(target=guarded)
        thread.start()
        job = self.run(job_id, program)
        thread.join()
        if failures:
            raise failures[0]
        return job

    def hold_after(self, step: int) -> None:
        """`trains.py` waits after this step."""
        draft = self.data.with_name("draft")
        draft.write_text(str(step))
        draft.replace(f"{self.data}.hold")

    def let_go(self) -> None:
        Path(f"{self.data}.hold").unlink()

    def run_directory(self, job_id: str) -> RunDirectory:
        return self.settings.home_directories.run_directory(job_id)

    def pids(self, job_id: str) -> list[int]:
        return read_pids(self.run_directory(job_id).path)

    def steps(self, job_id: str) -> list[int]:
        """The steps that are told as events, in order."""
        events = self.history.events_since(job_id, limit=20_000).items
        return [int(str(event.data["step"])) for event in events if event.type == "metrics"]

    def wait_for_step(self, job_id: str, step: int) -> None:
        wait_until(lambda: step in self.steps(job_id), what=f"step {step} of {job_id}")

    def wait_for_message(self, job_id: str, message: str) -> None:
        wait_until(lambda: message in self.messages(job_id), what=message)

    def num_events(self, job_id: str) -> int:
        return self.history.events(job_id, limit=1).items[0].seq

    def messages(self, job_id: str) -> list[str]:
        return [event.message for event in self.history.events_since(job_id).items]


def open_workshop(redis_url: SecretStr, directory: Path, **changes: object) -> Workshop:
    """With data, and times short enough for a test."""
    data_root = directory / "data"
    data_root.mkdir()
    (data_root / "data.json").write_text("[]")
    short = {
        "worker_name": "gpu-0",
        "retry_seconds": 0.0,
        "lease_seconds": 8.0,
        "self_fence_seconds": 2.0,
        "redis_timeout_seconds": 0.5,
        "heartbeat_interval_seconds": 0.05,
        "progress_poll_seconds": 0.02,
        "trainer_grace_seconds": 10.0,
    }
    settings = WorkerSettings.model_validate(
        {"home": directory / "home", "data_root": data_root, "redis_url": redis_url}
        | short
        | changes
    )
    redis = open_redis(redis_url)
    return Workshop(
        settings=settings,
        store=JobStore(redis),
        history=JobHistory(redis, settings.home_directories),
    )

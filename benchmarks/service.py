"""The service, compared with bare torchrun on the same run.json: `python -m benchmarks service`.

Each side trains a small model twice, in the order service, torchrun, torchrun, service. The service
is stopped while torchrun runs. A job before them encodes the conversations, builds the demo model
and warms the machine's file cache, for both.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from benchmarks.live_service import BenchmarkError, LiveService, live_service
from benchmarks.row import Row
from benchmarks.table import table
from benchmarks.training_run import TrainingRun, speed_ratio, steps_per_second
from worker.jobs.storage.paths import RunDirectory
from worker.processes.trainer_process import NodeSpec, torchrun_argv, trainer_environment
from worker.settings import inherited_environment

TITLE = "The service"
DATA = Path(__file__).parents[1] / "examples" / "conversations.json"
_NUM_STEPS = 201
MAX_SECONDS = 900.0
_GRACE_SECONDS = 60.0
SETTINGS: dict[str, object] = {
    "max_steps": _NUM_STEPS,
    "per_device_train_batch_size": 2,
    "model_max_length": 128,
    "logging_steps": 1,
    "save_steps": 1_000_000,
}


def run() -> list[Row]:
    """Measures steps per second, the time to the first step, and the difference of the losses."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        with live_service(home) as service:
            file = service.upload(DATA)
            warm_up = service.submit(file, SETTINGS | {"max_steps": 2})
            service.run_directory(warm_up, max_seconds=MAX_SECONDS)
            first = by_service(service, file)
        theirs = [_alone(first.directory, Path(scratch) / name) for name in ("one", "two")]
        with live_service(home) as service:
            second = by_service(service, file)
        return rows([first, second], theirs)


def rows(ours: list[TrainingRun], theirs: list[TrainingRun]) -> list[Row]:
    """Compares the service's runs with the bare ones."""
    first, bare_first = (fmean(run.first_step_seconds for run in runs) for runs in (ours, theirs))
    apart = max(abs(run.loss / theirs[0].loss - 1) for run in (*ours, *theirs))
    return [
        Row(
            "training",
            steps_per_second(ours),
            steps_per_second(theirs),
            speed_ratio(ours, theirs),
            "steps/s",
            ">= 0.99",
        ),
        Row(
            "POST, or start of torchrun, to first step (ratio: seconds longer)",
            first,
            bare_first,
            first - bare_first,
            "s",
            "<= 1",
        ),
        Row(
            "loss of the last step, how far apart",
            ours[0].loss,
            theirs[0].loss,
            apart,
            "nat",
            "<= 1e-05",
        ),
    ]


def by_service(
    service: LiveService, file: str, *, submitted: Callable[[str], None] | None = None
) -> TrainingRun:
    """Runs a job to its end. `submitted` is called with its id."""
    began_at = time.time()
    job_id = service.submit(file, SETTINGS)
    if submitted is not None:
        submitted(job_id)
    path = service.run_directory(job_id, max_seconds=MAX_SECONDS)
    return TrainingRun.read(path, began_at=began_at)


def _alone(model: Path, directory: Path) -> TrainingRun:
    """Repeats the run in the directory `model` with bare torchrun, with the same run.json."""
    directory.mkdir()
    run = RunDirectory(directory)
    told = json.loads(RunDirectory(model).run_config.read_text(encoding="utf-8"))
    told |= {"run_directory": str(directory), "output_dir": str(run.output)}
    run.run_config.write_text(json.dumps(told), encoding="utf-8")
    environment = trainer_environment(
        inherited_environment(), num_processes=1, run_directory=run, visible_devices=()
    )
    argv = torchrun_argv(run.run_config, NodeSpec(num_processes=1), _GRACE_SECONDS)
    began_at = time.time()
    with run.log.open("wb") as log:
        done = subprocess.run(
            argv, env=environment, stdout=log, stderr=log, timeout=MAX_SECONDS, check=False
        )
    if done.returncode != 0:
        raise BenchmarkError(f"torchrun failed: {run.log.read_text('utf-8', 'replace')[-2000:]}")
    return TrainingRun.read(directory, began_at=began_at)


if __name__ == "__main__":
    print(table(run()))

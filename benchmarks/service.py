"""The service beside bare torchrun, on the same run.json: `python -m benchmarks service`.

What the service adds to a training is to be nothing while it runs, and a second before it starts:
checking the file, queueing, claiming, starting. Both are run twice, in turn; a job before them
makes the demo model and the encoded file that all of them use.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.row import Row
from benchmarks.table import table
from flant5_train.progress import StepTrained, read_records

TITLE = "The service and bare torchrun"
_DATA = Path(__file__).parents[1] / "examples" / "conversations.json"
_ROUNDS = 2
_PATIENCE_SECONDS = 300
_HYPERPARAMETERS = {"max_steps": 120, "model_max_length": 256, "save_steps": 1000}


@dataclass(frozen=True, slots=True)
class _Run:
    """What a progress.jsonl says of a run, and when it was asked for."""

    steps_per_second: float
    seconds_to_first_step: float

    @classmethod
    def of(cls, progress: Path, *, asked_at: float) -> "_Run":
        at = [record.at for record in read_records(progress) if isinstance(record, StepTrained)]
        return cls((len(at) - 1) / (at[-1] - at[0]), at[0] - asked_at)


def run() -> list[Row]:
    """Steps a second, and seconds from the request to the first step."""
    with tempfile.TemporaryDirectory() as scratch, _service(Path(scratch)) as client:
        home = Path(scratch) / "home"
        _job(client, home)  # makes what the others find
        pairs = [(_job(client, home), _bare(home, Path(scratch))) for _ in range(_ROUNDS)]
    served, bare = (
        _Run(
            sum(each.steps_per_second for each in runs) / _ROUNDS,
            sum(each.seconds_to_first_step for each in runs) / _ROUNDS,
        )
        for runs in zip(*pairs, strict=True)
    )
    speeds = served.steps_per_second, bare.steps_per_second
    starts = served.seconds_to_first_step, bare.seconds_to_first_step
    return [
        Row("steps", *speeds, ratio=speeds[0] / speeds[1], unit="steps/s", goal=">= 0.99"),
        Row("first step; how much later", *starts, starts[0] - starts[1], unit="s", goal="<= 1"),
    ]


@contextmanager
def _service(scratch: Path) -> Iterator[httpx.Client]:
    command = [str(Path(sys.executable).with_name("flant5")), "up", "--home", str(scratch / "home")]
    with (scratch / "up.log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", "0"], stdout=log, stderr=log)
    try:
        url = _wait_for(lambda: _url_of(scratch / "home", process.pid))
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def _url_of(home: Path, pid: int) -> str | None:
    try:
        ready: dict[str, Any] = json.loads((home / "up.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return str(ready["url"]) if ready["pid"] == pid else None


def _job(client: httpx.Client, home: Path) -> _Run:
    """A job from its POST to its end."""
    sent = client.post("files", files={"file": _DATA.open("rb")}, data={"purpose": "fine-tune"})
    method = {"type": "supervised", "supervised": {"hyperparameters": _HYPERPARAMETERS}}
    spec = {"model": "flant5-demo", "training_file": sent.json()["id"], "method": method}
    asked_at = time.time()
    job_id = client.post("fine_tuning/jobs", json=spec).raise_for_status().json()["id"]

    def ended() -> str | None:
        status: str = client.get(f"fine_tuning/jobs/{job_id}").json()["status"]
        return status if status in ("succeeded", "failed", "cancelled") else None

    assert (status := _wait_for(ended)) == "succeeded", status
    return _Run.of(home / "jobs" / job_id / "progress.jsonl", asked_at=asked_at)


def _bare(home: Path, scratch: Path) -> _Run:
    """The run of the newest job once more, without the service."""
    newest = max(home.glob("jobs/*/run.json"), key=lambda path: path.stat().st_mtime)
    directory = Path(tempfile.mkdtemp(dir=scratch))
    told = json.loads(newest.read_text(encoding="utf-8"))
    told |= {"run_directory": str(directory), "output_dir": str(directory / "output")}
    (directory / "run.json").write_text(json.dumps(told), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    asked_at = time.time()
    with (directory / "train.log").open("wb") as log:
        subprocess.run(
            [*launcher, "-m", "flant5_train.train", str(directory / "run.json")],
            env=os.environ | {"OMP_NUM_THREADS": _threads_of_a_job()},
            stdout=log,
            stderr=log,
            check=True,
        )
    return _Run.of(directory / "progress.jsonl", asked_at=asked_at)


def _threads_of_a_job() -> str:
    """As the worker's environment for a trainer says it."""
    return str(len(os.sched_getaffinity(0)))


def _wait_for(look: Any) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := look()) is None:
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return found


if __name__ == "__main__":
    print(table(run()))

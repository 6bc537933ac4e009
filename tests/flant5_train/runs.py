"""Real runs of the trainer, under a real torchrun."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flant5_train.protocol.failure import Failure, read_failure
from flant5_train.protocol.progress import Record, StepTrained, read_records
from tests.flant5_train.conftest import EXAMPLES


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run and what it left."""

    output_dir: Path
    exit_code: int
    log: str

    def records(self) -> list[Record]:
        return list(read_records(self.output_dir / "progress.jsonl"))

    def steps(self) -> list[StepTrained]:
        return [record for record in self.records() if isinstance(record, StepTrained)]

    def failure(self) -> Failure | None:
        return read_failure(self.output_dir / "error.json")

    def weights(self) -> bytes:
        return (self.output_dir / "model.safetensors").read_bytes()


def command(output_dir: Path, *, processes: int, **settings: object) -> list[str]:
    """The command line of a run; `settings` are the trainer's flags."""
    flags = {
        "data_path": EXAMPLES,
        "output_dir": output_dir,
        "per_device_train_batch_size": 4,
        "model_max_length": 96,
        "learning_rate": 1e-3,
        "save_steps": 1000,
        **settings,
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    return [sys.executable, *launcher, "-m", "flant5_train.train", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(output_dir: Path, *, processes: int = 1, **settings: object) -> Run:
    """Run the trainer to its end."""
    return run_command(command(output_dir, processes=processes, **settings), output_dir)


def run_program(program: str, output_dir: Path, *, processes: int = 1, **settings: object) -> Run:
    """As `run`, with a trainer of `tests.flant5_train.programs`."""
    argv = command(output_dir, processes=processes, **settings)
    argv[argv.index("flant5_train.train")] = f"tests.flant5_train.programs.{program}"
    return run_command(argv, output_dir)


def run_command(argv: list[str], output_dir: Path) -> Run:
    finished = subprocess.run(
        argv,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    return Run(output_dir, finished.returncode, finished.stdout)


def some_examples(path: Path, count: int) -> Path:
    """A file with the first conversations of the examples."""
    talks: list[Any] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    path.write_text(json.dumps(talks[:count]), encoding="utf-8")
    return path


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)

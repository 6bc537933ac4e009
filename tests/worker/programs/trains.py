"""A trainer without a model: steps, checkpoints, resume, SIGTERM, as `flant5_train.train` has them.

argv: run.json. It waits after the step named in the file `<data>.hold` while that file is there.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from flant5_train.protocol.host import end_with
from flant5_train.protocol.progress import (
    CheckpointSaved,
    ModelSaved,
    PhaseChange,
    StepTrained,
    Stopped,
    TrainingStarted,
)
from flant5_train.training.progress_log import ProgressLog


class Trainer:
    def __init__(self, config: dict[str, object]) -> None:
        self.output = Path(str(config["output_dir"]))
        self.directory = Path(str(config["run_directory"]))
        self.hold = Path(f"{config['data_path']}.hold")
        self.max_steps, self.save_steps = (
            int(str(config["max_steps"])),
            int(str(config["save_steps"])),
        )
        self.log = ProgressLog(self.directory / "progress.jsonl")
        self.is_told_to_stop = False
        signal.signal(signal.SIGTERM, self.stop)
        (self.directory / f"{os.getpid()}.pid").write_text(str(os.getpid()))

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.is_told_to_stop = True

    def train(self) -> None:
        done = max(
            (int(path.parent.name.split("-")[1]) for path in self.output.glob("*/complete")),
            default=0,
        )
        self.log.append(PhaseChange(phase="training"))
        self.log.append(
            TrainingStarted(step=done, max_steps=self.max_steps, num_pairs=8, num_processes=1)
        )
        for step in range(done + 1, self.max_steps + 1):
            self.train_step(step)
            self.wait(step)
            if self.is_told_to_stop:
                self.log.append(Stopped(step=step, path=self.save(step)))
                return
            if step % self.save_steps == 0:
                self.save(step)
        self.export()

    def train_step(self, step: int) -> None:
        print(f"step {step} of process {os.getpid()}")
        self.log.append(
            StepTrained(
                step=step,
                max_steps=self.max_steps,
                epoch=step / 8,
                loss=1 / step,
                learning_rate=1e-4,
                tokens_seen=step * 100,
                tokens_per_second=50,
                eta_seconds=0,
            )
        )

    def wait(self, step: int) -> None:
        while self.hold.exists() and self.hold.read_text() == str(step):
            if self.is_told_to_stop:
                return
            time.sleep(0.005)

    def save(self, step: int) -> str:
        directory = self.output / f"checkpoint-{step}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "complete").touch()
        self.log.append(CheckpointSaved(step=step, path=str(directory), metrics={"loss": 1 / step}))
        return str(directory)

    def export(self) -> None:
        self.output.mkdir(exist_ok=True)
        (self.output / "config.json").write_text("{}")
        print("the last line of the log")
        self.log.append(
            ModelSaved(
                path=str(self.output),
                step=self.max_steps,
                train_loss=0.5,
                tokens_seen=self.max_steps * 100,
            )
        )


end_with(os.getppid())
Trainer(json.loads(Path(sys.argv[1]).read_text())).train()

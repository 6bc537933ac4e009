"""`python -m worker`, with the witness in the trainer's place."""

import sys
from pathlib import Path

from worker.__main__ import main
from worker.processes.trainer_process import NodeSpec, torchrun_argv

TRAINER = "flant5_train.train"
WITNESS = "tests.chaos.witness"


def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
    real = torchrun_argv(run_config, node, grace_seconds)
    assert TRAINER in real, f"nothing to replace in {real}"
    return [WITNESS if argument == TRAINER else argument for argument in real]


if __name__ == "__main__":
    sys.exit(main(argv))

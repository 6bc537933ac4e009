"""`python -m worker`, whose torchrun starts the real trainer by way of trainer_with_faults.py."""

import sys
from pathlib import Path

from worker.__main__ import main
from worker.processes.trainer_process import NodeSpec, torchrun_argv

USUAL, OURS = "flant5_train.train", "tests.stack.programs.trainer_with_faults"


def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
    usual = torchrun_argv(run_config, node, grace_seconds)
    assert USUAL in usual
    return [OURS if word == USUAL else word for word in usual]


if __name__ == "__main__":
    sys.exit(main(argv))

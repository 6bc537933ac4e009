"""`python -m worker`, with trains.py in the trainer's place."""

import sys
from pathlib import Path

from worker.__main__ import main
from worker.processes.trainer_process import NodeSpec


def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("trains.py")), str(run_config)]


sys.exit(main(argv))

"""`python -m worker`, whose trainers are a tree like torchrun's that never ends by itself."""

import sys
from pathlib import Path

from worker.__main__ import main
from worker.processes.trainer_process import NodeSpec


def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
    launcher = Path(__file__).with_name("spawns_session_children.py")
    return [sys.executable, str(launcher), str(run_config.parent), "ignores_sigterm.py"]


sys.exit(main(argv))

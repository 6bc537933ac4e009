"""A worker of one job: argv is the job id, the settings come from the environment."""

import sys
from pathlib import Path

from worker.context import open_context
from worker.execution.runner import run_job
from worker.processes.trainer_process import NodeSpec
from worker.settings import WorkerSettings


def argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("trains.py")), str(run_config)]


run_job(
    sys.argv[1],
    open_context(WorkerSettings(), trainer_argv=argv, is_stopping=lambda: False),
)

"""Who may import whom: api -> worker.jobs -> flant5_train.{config,progress,failure,diagnosis}."""

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker

ROOT = Path(worker.__file__).parent
CONTRACT = {
    "flant5_train.config",
    "flant5_train.progress",
    "flant5_train.failure",
    "flant5_train.serving.messages",
}
DIAGNOSIS = {"flant5_train.diagnosis"}
"""Needed where a process printed why it failed and could not write it down."""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.name)
def test_the_worker_knows_only_the_contract_of_the_trainer_and_nothing_of_the_api(
    path: Path,
) -> None:
    ours = {name for name in imported(path) if name.startswith(("flant5_train", "api", "worker"))}
    allowed = CONTRACT | DIAGNOSIS | {name for name in ours if name.startswith("worker.")}
    if path.parent.name == "jobs":
        allowed = CONTRACT | {name for name in ours if name.startswith("worker.jobs")}
    assert ours <= allowed


def test_neither_torch_nor_a_web_framework_is_loaded_by_any_module_of_the_worker() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(worker.__path__, "worker.")
        if not module.name.endswith("__main__")
    ]
    code = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'transformers', 'fastapi', 'sentencepiece'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["worker.processes.supervisor", "worker.slots.exercise"])
def test_what_is_started_with_each_job_lives_on_the_standard_library(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "found = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "assert not found & {'pydantic', 'redis', 'celery', 'kombu'}, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

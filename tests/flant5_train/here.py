"""Real runs of the trainer inside the test's own process: no launcher, one rank, and as fast."""

import importlib
from pathlib import Path

import pytest

import flant5_train
from tests.flant5_train.runs import Run, command

PROGRAM = importlib.import_module("flant5_train.train")
# The package's name `train` is the function; the import has put the module in its place.
del flant5_train.train


def run_here(monkeypatch: pytest.MonkeyPatch, output_dir: Path, **settings: object) -> Run:
    """Run `python -m flant5_train.train` to its end, with what the test has put in place."""
    argv = command(output_dir, processes=1, **settings)
    monkeypatch.setattr("sys.argv", argv[argv.index("flant5_train.train") :])
    # The test's process is nobody's rank.
    monkeypatch.setattr(PROGRAM, "die_with_parent", lambda: None)
    monkeypatch.setattr("flant5_train.training.stopping.StopSignal.listen", lambda self: None)
    try:
        PROGRAM.main()
    except Exception as error:  # noqa: BLE001 - error.json tells it
        return Run(output_dir, 1, str(error))
    return Run(output_dir, 0, "")

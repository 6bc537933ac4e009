"""Real runs of the trainer inside the test's own process: no launcher, one rank, and as fast."""

from pathlib import Path

import pytest

from flant5_train.train import main
from tests.flant5_train.runs import Run, command


def run_here(monkeypatch: pytest.MonkeyPatch, output_dir: Path, **settings: object) -> Run:
    """Run `python -m flant5_train.train` to its end, with what the test has put in place."""
    argv = command(output_dir, processes=1, **settings)
    monkeypatch.setattr("sys.argv", argv[argv.index("flant5_train.train") :])
    # The test's process is nobody's rank.
    monkeypatch.setattr("flant5_train.train.die_with_parent", lambda: None)
    monkeypatch.setattr("flant5_train.stopping.StopSignal.listen", lambda self: None)
    try:
        main()
    except Exception as error:  # noqa: BLE001 - error.json tells it
        return Run(output_dir, 1, str(error))
    return Run(output_dir, 0, "")

"""The door: `torchrun -m flant5_train.train ...`, or `... run.json`.

Leaves `error.json` in the run directory when the run fails.
"""

import json
import sys
from pathlib import Path

from flant5_train.diagnosis import failure_code
from flant5_train.failure import Failure
from flant5_train.process import (
    die_with_parent,
    expect_ancestor,
    hold_locks,
    locks_to_hold,
    rank,
    worker_process,
)


def main() -> None:
    die_with_parent()
    # Outside of the `try`: without the locks, error.json is another attempt's to write.
    if (worker := worker_process()) is not None:
        expect_ancestor(worker)
    hold_locks(locks_to_hold())
    argv = sys.argv[1:]
    try:
        # Imported here, since torch takes seconds: a launcher that dies meanwhile would leave this
        # process behind, and a failing import would leave no error.json.
        from flant5_train.training import train

        train(argv)
    except Exception as error:
        failure = Failure.of(error, code=failure_code(error), rank=rank())
        failure.write_first(_record_directory(argv) / "error.json")
        raise


def _record_directory(argv: list[str]) -> Path:
    """Where error.json goes, read without the parser, whose failure may be the one to tell."""
    settings: dict[str, object] = {}
    if len(argv) == 1 and argv[0].endswith(".json"):
        try:
            settings = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Path(argv[0]).parent
    for name in ("run_directory", "output_dir"):
        flag = f"--{name}"
        if flag in argv[:-1]:
            settings[name] = argv[argv.index(flag) + 1]
    return Path(str(settings.get("run_directory") or settings.get("output_dir") or "."))


if __name__ == "__main__":
    main()

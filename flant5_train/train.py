"""Entry point of the trainer: `torchrun -m flant5_train.train ...`, or `... run.json`.

Writes `error.json` to the run directory if the run fails.
"""

import json
import sys
from pathlib import Path

from flant5_train.disk import disk_full
from flant5_train.process import (
    die_with_parent,
    dump_stacks_on_request,
    expect_ancestor,
    hold_locks,
    locks_to_hold,
    rank,
    worker_process,
)
from flant5_train.protocol.failure import Failure, FailureCode, TrainingError, failure_code


def main() -> None:
    die_with_parent()
    dump_stacks_on_request()
    # Outside the `try`: without the locks, only another attempt may write error.json.
    if (worker := worker_process()) is not None:
        expect_ancestor(worker)
    hold_locks(locks_to_hold())
    argv = sys.argv[1:]
    try:
        # Imported here, because importing torch takes seconds. At the top of the module, a launcher
        # that dies meanwhile would orphan this process, and a failed import would leave no
        # error.json.
        from flant5_train.training.run import train

        train(argv)
    except SystemExit as end:
        if end.code:  # else `--help`
            _leave(_error_of(end), _record_directory(argv))
        raise
    except Exception as error:
        _leave(error, _record_directory(argv))
        raise


def _leave(error: Exception, directory: Path) -> None:
    """Writes error.json, or reports on standard error that it can't."""
    if failure_code(error) is FailureCode.DISK_FULL:
        error = disk_full("a file", directory, error)
    try:
        failure = Failure.of(error, code=failure_code(error), rank=rank())
        failure.write_first(directory / "error.json")
    except OSError as unwritten:
        sys.stderr.write(f"error.json could not be written: {unwritten}\n")


def _error_of(end: SystemExit) -> TrainingError:
    """Returns the error for a sys.exit; with a text instead of a number, the exit code is 1."""
    how = str(end.code) if isinstance(end.code, int) else f"1: {end.code}"
    message = f"a training process ended with exit code {how}"
    error = TrainingError(FailureCode.INTERNAL, message)
    error.__cause__ = end
    return error


def _record_directory(argv: list[str]) -> Path:
    """Returns the directory of error.json. Avoids the parser, whose failure may be the error."""
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

"""The door: `torchrun -m flant5_train.train ...`, or `... run.json`.

Leaves `error.json` in the run directory when the run fails.
"""

import json
import sys
from pathlib import Path

from flant5_train.diagnosis import failure_code
from flant5_train.disk import disk_full
from flant5_train.failure import Failure, FailureCode, TrainingError
from flant5_train.process import (
    die_with_parent,
    expect_ancestor,
    hold_locks,
    locks_to_hold,
    rank,
    tell_stacks_when_asked,
    worker_process,
)


def main() -> None:
    die_with_parent()
    tell_stacks_when_asked()
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
    except SystemExit as end:
        if end.code:  # else `--help`
            _leave(_error_of(end), _record_directory(argv))
        raise
    except Exception as error:
        _leave(error, _record_directory(argv))
        raise


def _leave(error: Exception, directory: Path) -> None:
    """Writes error.json, or says on standard error that this was not possible either."""
    if failure_code(error) is FailureCode.DISK_FULL:
        error = disk_full("a file", directory, error)
    try:
        failure = Failure.of(error, code=failure_code(error), rank=rank())
        failure.write_first(directory / "error.json")
    except OSError as unwritten:
        sys.stderr.write(f"error.json could not be written: {unwritten}\n")


def _error_of(end: SystemExit) -> TrainingError:
    """What sys.exit means: a number is the exit code, a text is printed and the code is 1."""
    how = str(end.code) if isinstance(end.code, int) else f"1: {end.code}"
    message = f"a training process ended with exit code {how}"
    error = TrainingError(FailureCode.INTERNAL, message)
    error.__cause__ = end
    return error


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

"""Child processes that make reports and plans. A malformed file can't harm the server, and the
server neither loads a tokenizer nor blocks.

    python -m flant5_train.file_report FILE --model=DIRECTORY ...
    python -m flant5_train.forecast QUESTION
"""

import subprocess
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from api.schemas.reports import ReportQuery
from api.settings import child_environment
from flant5_train.protocol.forecast import Question

_SECONDS = 1800.0
_NUM_TAIL_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code and standard output of a program."""

    code: int
    out: str


class ReportFailedError(Exception):
    """The program failed. The message is for the log."""


def report_argv(path: Path, query: ReportQuery, *, model: str | None) -> list[str]:
    """Returns the command of a report. `model` is the path or name that the trainer would load.
    Every argument from a caller was checked."""
    settings = query.model_dump(mode="json", exclude={"model", "wait_seconds"}, exclude_none=True)
    if model is not None:
        settings["model"] = model
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "flant5_train.file_report", *options, "--", str(path)]


def plan_argv(question: Question) -> list[str]:
    """Returns the command of a plan. The question is JSON, and its caller-supplied values were
    checked."""
    return [sys.executable, "-m", "flant5_train.forecast", question.model_dump_json()]


class ReportPrograms:
    """Running programs. Each ends with the thread that started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._is_closed = False

    def run(self, argv: list[str], *, good_codes: Collection[int]) -> Ended:
        """Runs a program and returns its output. Raises ReportFailedError for other exit codes,
        empty output and timeouts."""
        with self._lock:
            if self._is_closed:
                raise ReportFailedError("the server is stopping")
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=child_environment(),
                text=True,
            )
            self._running.add(process)
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise ReportFailedError(f"no report after {_SECONDS:g} s") from error
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode not in good_codes or not out:
            said = (out + err).strip()[-_NUM_TAIL_CHARACTERS:]
            raise ReportFailedError(f"exit code {process.returncode}: {said}")
        return Ended(process.returncode, out)

    def close(self) -> None:
        """Kills all programs."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()

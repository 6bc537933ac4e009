"""The program that makes a report, in a process of its own: a bad file can't harm the server, and
the server needs neither a tokenizer nor the time.

    python -m flant5_train.file_report FILE --model=DIRECTORY ...
"""

import subprocess
import sys
import threading
from pathlib import Path

from api.schemas.reports import ReportQuery
from api.settings import child_environment
from flant5_train.file_report.format import FileReport

_SECONDS = 1800.0
_REPORTED = (0, 1)
_NUM_TAIL_CHARACTERS = 1000


class ReportFailedError(Exception):
    """The program did not end as it should; for the log."""


def report_argv(path: Path, query: ReportQuery, *, model: str | None) -> list[str]:
    """The command; `model` is what the trainer would load. No word of it is a caller's text that
    was not checked."""
    settings = query.model_dump(mode="json", exclude={"model", "wait_seconds"}, exclude_none=True)
    if model is not None:
        settings["model"] = model
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "flant5_train.file_report", *options, "--", str(path)]


class ReportPrograms:
    """The programs that run now. They end with the thread that started them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._is_closed = False

    def run(self, argv: list[str]) -> FileReport:
        """Raises ReportFailedError."""
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
        if process.returncode not in _REPORTED or not out:
            said = (out + err).strip()[-_NUM_TAIL_CHARACTERS:]
            raise ReportFailedError(f"exit code {process.returncode}: {said}")
        return FileReport.model_validate_json(out)

    def close(self) -> None:
        """Ends them all."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()

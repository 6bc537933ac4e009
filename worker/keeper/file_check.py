"""Validates one file in a separate process, to protect the keeper from bad files.

    python -m flant5_train.check FILE --on-bad-record fail|skip --on-missing-question train|skip

exit code 0: the file is valid, and standard output is CheckedFiles as JSON
(`flant5_train.protocol.file_report`); 2: it is invalid, and standard output is the Failure as JSON.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from flant5_train.config import Hyperparameters
from flant5_train.protocol.failure import Failure, FailureCode
from flant5_train.protocol.file_report import CheckedFile, CheckedFiles
from flant5_train.protocol.host import end_with
from worker.jobs.job import JobError
from worker.jobs.update import NewEvent
from worker.processes.environment_policy import allowed_environment
from worker.settings import inherited_environment

BAD_FILE = 2

_NUM_TAIL_CHARACTERS = 1000

_MAX_WARNINGS = 10
"""Maximum number of events for the warnings of one file, after merging equal warnings."""

CheckArgv = Callable[[Path, Hyperparameters], list[str]]


def check_argv(path: Path, settings: Hyperparameters) -> list[str]:
    """Returns the command that validates a file."""
    return [
        sys.executable,
        *("-m", "flant5_train.check"),
        str(path),
        *("--on-bad-record", settings.on_bad_record.value),
        *("--on-missing-question", settings.on_missing_question.value),
    ]


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file of a job, with the name its owner uses."""

    param: str
    """The field of the job that refers to the file."""
    name: str
    path: Path


class FileCheck:
    """A running check. The kernel kills it when this process ends."""

    def __init__(self, argv: list[str], file: NamedFile, *, max_seconds: float) -> None:
        self._file = file
        self._param = file.param
        self._max_seconds = max_seconds
        self._deadline = time.monotonic() + max_seconds
        # Files, not pipes: a check with much output must not block until it is read.
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env=allowed_environment(inherited_environment()),
            preexec_fn=partial(end_with, os.getpid()),
        )
        self.end = os.pidfd_open(self._process.pid)
        """Descriptor that becomes readable when the check exits by itself."""

    def has_ended(self) -> bool:
        """Returns True if the check has exited or its time is up."""
        return self._process.poll() is not None or time.monotonic() >= self._deadline

    def error(self) -> JobError | None:
        """Returns the error of the file, or None if it is valid. The check must have ended."""
        code = self._process.returncode
        if code is None:
            message = f"the check of {self._param} timed out after {self._max_seconds:g} s"
            return JobError(code=FailureCode.TIMEOUT.value, message=message, param=self._param)
        if code == 0:
            return None
        if code == BAD_FILE:
            try:
                failure = Failure.model_validate_json(self._read_all())
            except ValidationError:
                pass  # argparse too exits with 2
            else:
                return JobError(
                    code=failure.code.value,
                    message=self._with_its_name(failure.message),
                    param=self._param,
                )
        return JobError(
            code=FailureCode.INTERNAL.value,
            message=f"the check of {self._param} ended with exit code {code}: {self._last_words()}",
            param=self._param,
        )

    def warnings(self) -> tuple[NewEvent, ...]:
        """Returns the warnings about a valid file as events.

        If the check printed no report, returns one warning about that.
        """
        try:
            files = CheckedFiles.model_validate_json(self._read_all()).files
        except ValidationError:
            return (self._no_report(),)
        return tuple(event for file in files for event in _warning_events(self._file, file))

    def close(self) -> None:
        """Kills the check if it is still running."""
        self._process.kill()
        self._process.wait()
        os.close(self.end)
        self._stdout.close()
        self._stderr.close()

    def _no_report(self) -> NewEvent:
        return NewEvent(
            message=f"{self._file.name}: the check of {self._param} printed no JSON report, so its"
            " warnings are unknown; install the same version of the trainer and the keeper",
            level="warn",
            data={"param": self._param},
        )

    def _with_its_name(self, message: str) -> str:
        """Replaces the file name: on disk, every uploaded file is called `content`."""
        head = f"{self._file.path.name}: "
        if not message.startswith(head):
            return message
        return f"{self._file.name}: {message.removeprefix(head)}"

    def _read_all(self) -> bytes:
        self._stdout.seek(0)
        return self._stdout.read()

    def _last_words(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode("utf-8", "replace").strip()[-_NUM_TAIL_CHARACTERS:]


def _warning_events(named: NamedFile, checked: CheckedFile) -> Iterator[NewEvent]:
    warnings = checked.warnings
    for problem in warnings.listed[:_MAX_WARNINGS]:
        yield NewEvent(
            message=f"{named.name}: {problem.kind} ({problem.count}): {problem}",
            level="warn",
            data={"param": named.param, **problem.model_dump(mode="json")},
        )
    told = sum(problem.count for problem in warnings.listed[:_MAX_WARNINGS])
    if rest := warnings.num_problems - told:
        yield NewEvent(
            message=f"{named.name}: {rest} more warnings; see the report on the file",
            level="warn",
            data={"param": named.param, "by_kind": dict(warnings.by_kind)},
        )

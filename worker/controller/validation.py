"""Validates the files of new jobs, a few at a time, oldest job first.

Each file is validated in a separate process, to protect the controller from bad files:

    python -m flant5_train.check FILE --on-bad-record fail|skip --on-missing-question train|skip

    exit code 0   the file is valid; standard output is CheckedFiles as JSON
                  (`flant5_train.protocol.file_report`)
    exit code 2   it is invalid; standard output is the Failure as JSON
"""

import logging
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
from worker.execution.records import keep_ends
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job, JobError
from worker.jobs.storage.files import FileStore
from worker.jobs.store.serialization import NewEvent
from worker.jobs.store.store import JobStore
from worker.processes.environment_policy import allowed_environment
from worker.settings import WorkerSettings, inherited_environment

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
            " warnings are unknown; install the same version of the trainer and the controller",
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
    num_listed = sum(problem.count for problem in warnings.listed[:_MAX_WARNINGS])
    if rest := warnings.num_problems - num_listed:
        yield NewEvent(
            message=f"{named.name}: {rest} more warnings; see the report on the file",
            level="warn",
            data={"param": named.param, "by_kind": dict(warnings.by_kind)},
        )


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    check: FileCheck
    remaining: tuple[NamedFile, ...]
    """Files to check after this one."""
    warnings: tuple[NewEvent, ...]
    """Warnings about the files already checked."""


class FileValidator:
    """Moves jobs out of validating_files: into the queue, or to failed."""

    def __init__(
        self, store: JobStore, files: FileStore, settings: WorkerSettings, *, argv: CheckArgv
    ) -> None:
        self._store = store
        self._files = files
        self._settings = settings
        self._argv = argv
        self._running: dict[str, _Running] = {}

    def step(self) -> None:
        """Starts new checks and processes ended ones, without waiting.

        Raises StoreUnavailableError.
        """
        waiting = {job.id: job for job in self._store.to_validate(self._settings.max_checks)}
        for job_id, running in tuple(self._running.items()):
            if job_id not in waiting:  # cancelled
                self._forget(job_id)
            elif running.check.has_ended():
                self._end(running)
        for job_id, job in waiting.items():
            if job_id not in self._running and len(self._running) < self._settings.max_checks:
                self._begin(job)

    @property
    def ends(self) -> tuple[int, ...]:
        """Descriptors that become readable when checks end."""
        return tuple(running.check.end for running in self._running.values())

    def has_new_jobs(self) -> bool:
        """Returns True if `step` would start a check. Takes one cheap request.

        Raises StoreUnavailableError.
        """
        max_checks = self._settings.max_checks
        return len(self._running) < min(max_checks, self._store.num_to_validate())

    def close(self) -> None:
        """Kills all checks. The next controller starts them again."""
        for job_id in tuple(self._running):
            self._forget(job_id)

    def _begin(self, job: Job) -> None:
        named = {
            "training_file": job.spec.training_file,
            "validation_file": job.spec.validation_file,
        }
        files: list[NamedFile] = []
        for param, reference in named.items():
            try:
                if reference is not None:
                    path = self._files.resolve(reference)
                    files.append(NamedFile(param=param, name=self._name(reference), path=path))
            except (NotFoundError, InvalidRequestError) as error:
                code = FailureCode.BAD_DATA.value
                self._reject(job, JobError(code=code, message=str(error), param=param))
                return
        self._check(job, tuple(files), warnings=())

    def _name(self, reference: str) -> str:
        """Returns the name of an uploaded file, or the path of any other file."""
        try:
            return self._files.get(reference).filename
        except NotFoundError:
            return reference

    def _check(
        self, job: Job, files: tuple[NamedFile, ...], *, warnings: tuple[NewEvent, ...]
    ) -> None:
        first, *remaining = files
        check = FileCheck(
            self._argv(first.path, job.spec.hyperparameters),
            first,
            max_seconds=self._settings.file_check_timeout_seconds,
        )
        self._running[job.id] = _Running(job, check, tuple(remaining), warnings)

    def _end(self, running: _Running) -> None:
        error = running.check.error()
        warnings = running.warnings if error else (*running.warnings, *running.check.warnings())
        if error is not None:
            self._reject(running.job, error)
        elif not running.remaining:
            self._store.accept(running.job.id, warnings)
            logger.info("job %s accepted", running.job.id)
        # After the store: if the store is unavailable, the next step processes the check again.
        self._forget(running.job.id)
        if error is None and running.remaining:
            self._check(running.job, running.remaining, warnings=warnings)

    def _reject(self, job: Job, error: JobError) -> None:
        self._store.reject(job.id, error)
        keep_ends(self._store, self._settings.home_directories, (job.id,))
        logger.info("job %s rejected: %s", job.id, error.message)

    def _forget(self, job_id: str) -> None:
        self._running.pop(job_id).check.close()

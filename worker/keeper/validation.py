"""Validates the files of new jobs, a few at a time, oldest job first."""

import logging
from dataclasses import dataclass

from flant5_train.protocol.failure import FailureCode
from worker.execution.records import keep_ends
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job, JobError
from worker.jobs.storage.files import FileStore
from worker.jobs.store.store import JobStore
from worker.jobs.update import NewEvent
from worker.keeper.file_check import CheckArgv, FileCheck, NamedFile
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    check: FileCheck
    remaining: tuple[NamedFile, ...]
    """Files to check after this one."""
    warnings: tuple[NewEvent, ...]
    """Warnings about the files already checked."""


class Validation:
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
        """Kills all checks. The next keeper starts them again."""
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
            max_seconds=self._settings.check_seconds,
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

"""Deletion of ended jobs, their models and their checkpoints, with all their files.

    lock of the run directory -> the store (conditions, keys, `forgotten`) -> tombstone -> files
    -> remove from `forgotten`

The lock keeps attempts away: an attempt holds it until its last process has ended. A process that
is killed midway leaves an entry in `forgotten` or a tombstone, and the controller finishes the
deletion (`worker.controller.deletions`). Before the tombstone is on disk, a store that loses its
last second has the object again; no deletion was acknowledged by then. Afterwards nothing restores
it.

A checkpoint has no tombstone, because a resumed job may save the same step again. Its directory is
renamed before its entry leaves the store's list.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from worker.jobs.errors import BusyError, NotEndedError, NotFoundError
from worker.jobs.job import Job, model_id
from worker.jobs.storage.filesystem import is_full, sync_directory
from worker.jobs.storage.job_files import REMOVED, JobFiles, num_bytes_of, remove
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.storage.paths import Home
from worker.jobs.storage.run_files import result_file_id
from worker.jobs.storage.tombstones import Kind, Tombstone, Tombstones
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.store import JobStore

LOCK_SECONDS = 5.0
"""Time in which the processes of a job that has just ended have to exit."""

_log = logging.getLogger(__name__)


class Deletions:
    """Each `delete_...` returns the number of freed bytes once all files are gone.

    They raise NotFoundError, NotEndedError, InUseError, BusyError, StoreUnavailableError, and
    OSError for a disk error. The controller finishes a deletion that has begun.
    """

    def __init__(self, store: JobStore, home: Home, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._store = store
        self._home = home
        self._job_records = JobRecordStore(home)
        self._tombstones = Tombstones(home)
        self._lock_seconds = lock_seconds

    def files_of(self, job: Job) -> JobFiles:
        return JobFiles(self._home, job.id, result_file_id(job))

    def delete_job(self, job_id: str) -> int:
        """Deletes an ended job with everything it left."""
        job = self._ended(job_id)
        with self._locked(job_id):
            tombstone = self._tombstone_of(job, "job", num_bytes=self.files_of(job).num_bytes)
            self._store.deleted.delete(job)
            self._bury(tombstone)
        return tombstone.freed_bytes

    def delete_old_job(self, job: Job, *, min_age_seconds: float) -> bool:
        """As `delete_job`, for a job that failed or was cancelled at least `min_age_seconds` ago
        and that no other job needs. Otherwise does nothing and returns False."""
        with self._locked(job.id):
            tombstone = self._tombstone_of(job, "job", num_bytes=self.files_of(job).num_bytes)
            if not self._store.deleted.delete_old(job, min_age_seconds=min_age_seconds):
                return False
            self._bury(tombstone)
        return True

    def delete_model(self, job_id: str) -> int:
        """Deletes the final model of a job. The job stays, with its events, logs and
        checkpoints."""
        job = self._ended(job_id)
        with self._locked(job_id):
            num_bytes = num_bytes_of(*self.files_of(job).model)
            tombstone = self._tombstone_of(job, "model", num_bytes=num_bytes)
            message = f"Model {tombstone.model} deleted: {num_bytes} bytes freed"
            self._store.deleted.delete_model(job, message=message)
            self._bury(tombstone)
        return num_bytes

    def delete_model_by_name(
        self, model: str, catalog: ModelCatalog, *, owner: str | None = None, is_retry: bool = False
    ) -> int:
        """Deletes a job's final model or checkpoint with its files, and returns the freed bytes.
        A retry returns the result of the first try.

        Raises InvalidRequestError for a base model, and NotFoundError.
        """
        step = catalog.step_of(model, owner=owner)
        if step is not None:
            return self.delete_checkpoint(catalog.job_of(model, owner=owner), step)
        try:
            return self.delete_model(catalog.job_of(model, owner=owner))
        except NotFoundError:
            freed = self._deleted_by_name_before(model, owner=owner) if is_retry else None
            if freed is None:
                raise
            return freed

    def _deleted_by_name_before(self, model: str, *, owner: str | None) -> int | None:
        job_id = self._store.models.job_of_name(model)
        is_seen = owner in (None, self._store.owner_of(job_id))
        return self.model_deleted_before(job_id) if is_seen else None

    def delete_checkpoint(self, job_id: str, step: int) -> int:
        """Deletes one checkpoint of an ended job, or just its list entry if the run itself has
        removed the files."""
        job = self._ended(job_id)
        checkpoint = self.files_of(job).checkpoint(step)
        with self._locked(job_id):
            is_here, num_bytes = checkpoint.is_dir(), num_bytes_of(checkpoint)
            self._store.deleted.claim_checkpoint(job, step)
            if is_here:
                removed = checkpoint.with_name(REMOVED + checkpoint.name)
                remove(removed)
                checkpoint.rename(removed)
                sync_directory(checkpoint.parent)
            freed = f": {num_bytes} bytes freed"
            was_listed = self._finish_checkpoint(job_id, step, freed=freed)
        if not is_here and not was_listed:
            raise NotFoundError(f"job {job_id} has no checkpoint at step {step}")
        return num_bytes

    def deleted_before(self, job_id: str, *, owner: str | None, is_retry: bool) -> int | None:
        """Finishes an interrupted deletion, or answers a retried request, and returns the number
        of freed bytes. None for a job that never existed for the owner, or whose deletion is
        complete (without `is_retry`). Raises as `finish`."""
        is_begun = self._store.deleted.is_unfinished(job_id)
        tombstone = self._tombstones.read(job_id)
        if tombstone is None and is_begun:
            tombstone = self._begun(job_id, "job")
        if tombstone is None or not tombstone.is_seen_by(owner) or not (is_begun or is_retry):
            return None
        if is_begun:
            self.finish(job_id)
        return tombstone.freed_bytes

    def model_deleted_before(self, job_id: str) -> int | None:
        """Returns the bytes freed by deleting the job's model; None if it was not deleted."""
        tombstone = self._tombstones.read(job_id, "model")
        return None if tombstone is None else tombstone.freed_bytes

    def finish(self, deletion: str) -> None:
        """Finishes a deletion listed in `forgotten`. Raises BusyError while a process of an attempt
        is alive, StoreUnavailableError, OSError, and ValueError for a damaged record."""
        job_id, _, part = deletion.partition("/")
        if part.startswith("checkpoint-"):
            with self._locked(job_id):
                self._finish_checkpoint(job_id, int(part.removeprefix("checkpoint-")))
            return
        kind: Kind = "model" if part else "job"
        tombstone = self._tombstones.read(job_id, kind)
        if tombstone is not None:
            self._forget_by_force(tombstone)
        elif kind == "job" and not self._store.unknown((job_id,)):
            self._store.deleted.mark_files_deleted(deletion)  # the job was restored since
            return
        with self._locked(job_id):
            self._bury(tombstone or self._begun(job_id, kind))

    def enforce(self, tombstone: Tombstone) -> bool:
        """Repeats a deletion if a rolled-back store or a late process has brought anything back.
        Returns True if so. Raises as `finish`."""
        files = JobFiles(self._home, tombstone.job_id, tombstone.result_file)
        is_back = self._forget_by_force(tombstone)
        is_back = is_back or (files.exist if tombstone.kind == "job" else bool(files.model))
        if is_back:
            with self._locked(tombstone.job_id):
                self._bury(tombstone)
        return is_back

    def _forget_by_force(self, tombstone: Tombstone) -> bool:
        """Returns True if the store still had the deleted object."""
        of_kind = {
            "job": self._store.deleted.force_delete,
            "model": self._store.deleted.force_delete_model,
        }
        return of_kind[tombstone.kind](tombstone.job_id, model=tombstone.model)

    def _ended(self, job_id: str) -> Job:
        """Returns the job, or raises NotEndedError. Called before the lock, which an attempt
        holds."""
        job = self._store.get(job_id)
        if not job.status.is_final:
            raise NotEndedError(job_id, job.status)
        return job

    def _tombstone_of(self, job: Job, kind: Kind, *, num_bytes: int) -> Tombstone:
        return Tombstone(
            job_id=job.id,
            kind=kind,
            owner=job.owner,
            model=model_id(job.id, job.spec),
            result_file=result_file_id(job) if kind == "job" else None,
            freed_bytes=num_bytes,
        )

    def _begun(self, job_id: str, kind: Kind) -> Tombstone:
        """Returns the tombstone of a deletion that was interrupted before it had one."""
        try:
            record = self._job_records.read(job_id)
        except (FileNotFoundError, ValueError) as error:
            # Never acknowledged; or the disk was full and the files were removed first.
            if not isinstance(error, FileNotFoundError):
                _log.error("deletion: continuing without the job's record: %s", error)
            return Tombstone(job_id=job_id, kind=kind, owner="", model="", freed_bytes=0)
        files = JobFiles(self._home, job_id, result_file_id(record))
        freed = files.num_bytes if kind == "job" else num_bytes_of(*files.model)
        return Tombstone(
            job_id=job_id,
            kind=kind,
            owner=record.owner,
            model=model_id(job_id, record.spec),
            result_file=result_file_id(record) if kind == "job" else None,
            freed_bytes=freed,
        )

    def _bury(self, tombstone: Tombstone) -> None:
        """Runs a deletion from its tombstone to the end."""
        try:
            self._tombstones.write(tombstone)
        except OSError as error:
            if not is_full(error):
                raise
            # Removing the files first makes space for the tombstone.
            self._remove_files(tombstone)
            self._tombstones.write(tombstone)
        self._remove_files(tombstone)
        of_model = "/model" if tombstone.kind == "model" else ""
        self._store.deleted.mark_files_deleted(tombstone.job_id + of_model)

    def _remove_files(self, tombstone: Tombstone) -> None:
        files = JobFiles(self._home, tombstone.job_id, tombstone.result_file)
        if tombstone.kind == "model":
            self._job_records.mark_model_deleted(tombstone.job_id)
            for path in files.model:
                remove(path)
            return
        # Without its record no recovery restores the job, whatever else is left.
        self._job_records.delete(tombstone.job_id)
        files.remove_all()

    def _finish_checkpoint(self, job_id: str, step: int, *, freed: str = "") -> bool:
        """Finishes the deletion of a checkpoint whose directory was renamed. Returns True if the
        checkpoint was listed. A directory that was not renamed stays: its deletion was interrupted
        before it was acknowledged."""
        was_listed = False
        checkpoint = JobFiles(self._home, job_id, None).checkpoint(step)
        removed = checkpoint.with_name(REMOVED + checkpoint.name)
        if not checkpoint.exists():
            message = f"Checkpoint of step {step} deleted{freed}"
            was_listed = self._store.deleted.delete_checkpoint(job_id, step, message=message)
        remove(removed)
        self._store.deleted.mark_files_deleted(f"{job_id}/checkpoint-{step}")
        return was_listed

    @contextmanager
    def _locked(self, job_id: str) -> Iterator[None]:
        run_directory = self._home.run_directory(job_id)
        if not run_directory.path.exists():
            yield  # no attempt ever began, or all is gone; taking the lock would create a directory
            return
        try:
            lock = take_lock(run_directory.lock, patience_seconds=self._lock_seconds)
        except LockedError as error:
            raise BusyError(f"job {job_id} can't be deleted yet: {error}") from error
        try:
            yield
        finally:
            os.close(lock)

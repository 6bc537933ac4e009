"""Deletions from pages: confirmation dialog with the freed bytes, then the deletion."""

from collections.abc import Callable
from dataclasses import dataclass

from nicegui import ui

from api.auth import Caller
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.format import size
from api.dashboard.ui.layout import confirm, record_audit_event, run_with_error_toast
from api.services import deletion
from worker.jobs.storage.files import StoredFile
from worker.jobs.storage.job_files import JobFiles, num_bytes_of


@dataclass(frozen=True, slots=True)
class PageDeletion:
    """An object that a page can delete."""

    thing: str
    goes: str
    """Sentence about what is deleted with it and what stays."""
    measure: Callable[[], int]
    """Returns its bytes on disk."""
    delete: Callable[[], int]
    """Deletes it. Raises NotAllowedError, SessionEndedError, and the errors of
    `api.services.deletion`."""


async def delete_if_sure(wanted: PageDeletion) -> bool:
    """Returns True when the deletion was confirmed and carried out."""
    num_bytes = await run_with_error_toast(wanted.measure, done="")
    if num_bytes is None:
        return False
    text = f"{wanted.goes} This frees {size(num_bytes)} of disk space and can't be undone."
    if not await confirm(f"Delete {wanted.thing}?", text, yes="Delete"):
        return False
    freed = await run_with_error_toast(wanted.delete, done="")
    if freed is None:
        return False
    ui.notify(f"Deleted: {wanted.thing}, {size(freed)} freed", type="positive")
    return True


def job_deletion(user: SessionUser, job_id: str, *, name: str) -> PageDeletion:
    def delete() -> int:
        caller, services = user.changing(), user.services
        user.job(job_id)
        freed = deletion.delete_job(job_id, caller=caller, is_retry=False, services=services)
        _note(f"fine_tuning/jobs/{job_id}", job_id, user=user, caller=caller)
        return freed

    return PageDeletion(
        thing=f"job {name}",
        goes="Its model, checkpoints, curves and log are deleted. Its training files stay.",
        measure=lambda: _files_of(user, job_id).num_bytes,
        delete=delete,
    )


def model_deletion(user: SessionUser, model: str, *, job_id: str) -> PageDeletion:
    def delete() -> int:
        caller = user.changing()
        freed = deletion.delete_model(model, caller=caller, is_retry=False, services=user.services)
        _note(f"models/{model}", model, user=user, caller=caller)
        return freed

    return PageDeletion(
        thing=f"model {model}",
        goes="Chats and jobs can no longer use it. Its job and checkpoints stay.",
        measure=lambda: num_bytes_of(*_files_of(user, job_id).model),
        delete=delete,
    )


def checkpoint_deletion(user: SessionUser, job_id: str, *, step: int) -> PageDeletion:
    def delete() -> int:
        caller, services = user.changing(), user.services
        user.job(job_id)
        _, freed = deletion.delete_checkpoint(job_id, str(step), caller=caller, services=services)
        path = f"fine_tuning/jobs/{job_id}/checkpoints/{step}"
        _note(path, job_id, user=user, caller=caller)
        return freed

    return PageDeletion(
        thing=f"the checkpoint of step {step}",
        goes="The job and its other checkpoints stay.",
        measure=lambda: num_bytes_of(_files_of(user, job_id).checkpoint(step)),
        delete=delete,
    )


def file_deletion(user: SessionUser, file: StoredFile) -> PageDeletion:
    def delete() -> int:
        caller, services = user.changing(), user.services
        freed = deletion.delete_file(file.id, caller=caller, services=services)
        _note(f"files/{file.id}", file.id, user=user, caller=caller)
        return freed

    return PageDeletion(
        thing=file.filename,
        goes="Jobs trained on it stay.",
        measure=lambda: file.num_bytes,
        delete=delete,
    )


def _files_of(user: SessionUser, job_id: str) -> JobFiles:
    return user.services.deletions.files_of(user.job(job_id))


def _note(path: str, thing: str, *, user: SessionUser, caller: Caller) -> None:
    record_audit_event(f"DELETE /v1/{path}", thing, caller=caller, services=user.services)

"""Outputs of one job: the panel with its checkpoints and final model, and downloads.

Browsers download models, checkpoints and files. Their session authenticates them.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from nicegui import ui

from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.deletion import checkpoint_deletion, delete_if_sure
from api.dashboard.ui.format import instant, number, size
from api.dashboard.ui.layout import Poller, chat_address, heading
from api.schemas.history import CheckpointObject
from api.services.outputs import FileDownload as FileDownload
from api.services.outputs import find_artifact, list_artifacts
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Status

_MAX_SHOWN = 50
_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class DownloadLink:
    """One entry of the list."""

    name: str
    about: str
    model: str
    """Id for training and chat requests."""
    address: str
    step: int | None = None
    """Step of a checkpoint that can be deleted; otherwise None."""


class CheckpointsPanel:
    """Lists the final model first, then checkpoints from newest to oldest."""

    def __init__(self, user: SessionUser, job_id: str) -> None:
        self._user = user
        self._job_id = job_id
        self._shown: tuple[DownloadLink, ...] | None = None
        with ui.element("section").classes("card"):
            heading("Checkpoints and model")
            self._list = ui.element("div").classes("downloads")
        self._poller = Poller(self._read, self._show, seconds=_SECONDS)

    def _read(self) -> tuple[DownloadLink, ...]:
        user, job = self._user, self._user.job(self._job_id)
        sizes = _sizes(user, job.id)
        page = user.services.history.checkpoints(job.id, limit=_MAX_SHOWN)
        found = []
        if job.status is Status.SUCCEEDED and job.fine_tuned_model and "" in sizes:
            about = f"final result · {size(sizes[''])}"
            address = f"/download/jobs/{job.id}/model.tar"
            found.append(DownloadLink("Final model", about, job.fine_tuned_model, address))
        for checkpoint in page.items:
            shown = CheckpointObject.of(checkpoint, job=job)
            name = f"checkpoint-{checkpoint.step}"
            if name not in sizes:
                continue  # deleted by checkpoint rotation
            loss = shown.metrics.get("full_valid_loss")
            parts = [instant(checkpoint.created_at), size(sizes[name])]
            if loss is not None:
                parts.append(f"validation loss {number(loss)}")
            address = f"/download/jobs/{job.id}/{name}.tar"
            model = shown.fine_tuned_model_checkpoint
            can_go = job.status.is_final and user.may_change
            step = checkpoint.step if can_go else None
            about = " · ".join(parts)
            found.append(DownloadLink(f"Step {checkpoint.step}", about, model, address, step))
        return tuple(found)

    def _show(self, found: tuple[DownloadLink, ...]) -> None:
        if found == self._shown:
            return
        self._shown = found
        self._list.clear()
        with self._list:
            if not found:
                ui.label("None yet.").classes("quiet")
            for each in found:
                with ui.element("div").classes("download"):
                    with ui.element("div"):
                        ui.label(each.name)
                        ui.label(each.about).classes("quiet")
                        ui.label(each.model).classes("mono quiet wrap")
                    with ui.row().classes("actions"):
                        chat = ui.link("Chat", chat_address(each.model))
                        chat.props(f'aria-label="Chat with {each.name}"')
                        load = ui.link("Download", each.address)
                        load.props(f'download aria-label="{each.name}"')
                        if each.step is not None:
                            self._delete_button(each.step)

    def _delete_button(self, step: int) -> None:
        button = ui.button(icon="delete", on_click=lambda: self._delete(step))
        button.props(f'flat round dense aria-label="Delete step {step}"').tooltip("Delete")

    async def _delete(self, step: int) -> None:
        if await delete_if_sure(checkpoint_deletion(self._user, self._job_id, step=step)):
            await self._poller.refresh()


def _sizes(user: SessionUser, job_id: str) -> dict[str, int]:
    """Returns the bytes of each checkpoint directory, and of the final model under ''."""
    output = user.services.home.run_directory(job_id).output
    try:
        root = find_artifact(output, "")
    except NotFoundError:
        return {}
    sizes: dict[str, int] = {}
    for artifact in list_artifacts(output, root):
        first, _, rest = artifact.id.partition("/")
        place = first if rest and first.startswith("checkpoint-") else ""
        sizes[place] = sizes.get(place, 0) + artifact.bytes
    return sizes


_CHUNK_BYTES = 2**20

router = APIRouter(prefix="/download")


@router.get("/jobs/{job_id}/{name}.tar")
def download_model(request: Request, job_id: str, name: str) -> StreamingResponse:
    """Sends the final `model` or a checkpoint, such as `checkpoint-40`, as a tar archive."""
    user = SessionUser.of(request)
    job = user.job(job_id)
    output = user.services.home.run_directory(job.id).output
    paths = model_files(output) if name == "model" else checkpoint_files(output, name)
    label = f"{job.id}-{name}"
    headers = {"content-disposition": f'attachment; filename="{label}.tar"'}
    return StreamingResponse(archive(paths, label), media_type="application/x-tar", headers=headers)


@router.get("/files/{file_id}", response_class=FileDownload)
def download_file(request: Request, file_id: str) -> FileDownload:
    """Sends an uploaded file unchanged."""
    user = SessionUser.of(request)
    stored = user.file(file_id)
    path = user.services.files.content_path(stored.id)
    return FileDownload(path, filename=stored.filename)


def model_files(output: Path) -> tuple[Path, ...]:
    """Returns the files of the final model, without checkpoints. Raises NotFoundError."""
    root = find_artifact(output, "")
    found = tuple(root / each.id for each in list_artifacts(output, root))
    files = tuple(path for path in found if not path.relative_to(root).parts[0].startswith("check"))
    if not files:
        raise NotFoundError("the job has no model yet")
    return files


def checkpoint_files(output: Path, name: str) -> tuple[Path, ...]:
    """Returns the files of one checkpoint. Raises NotFoundError."""
    directory = find_artifact(output, name)
    if "/" in name or not directory.is_dir() or directory == output.resolve():
        raise NotFoundError(f"no checkpoint {name!r}")
    root = output.resolve()
    return tuple(root / each.id for each in list_artifacts(output, directory))


def archive(paths: tuple[Path, ...], label: str) -> Iterator[bytes]:
    """Streams a tar archive of the files, in a directory named `label`.

    Holds one chunk in memory. Raises OSError if a file is gone: the connection is then cut, and
    the browser detects that the archive is incomplete.
    """
    parent = Path(os.path.commonpath([path.parent for path in paths]))
    for path in paths:
        with path.open("rb") as file:
            info = tarfile.TarInfo(f"{label}/{path.relative_to(parent).as_posix()}")
            status = os.fstat(file.fileno())
            info.size, info.mtime = status.st_size, int(status.st_mtime)
            yield info.tobuf()
            left = info.size
            while left:
                data = file.read(min(_CHUNK_BYTES, left))
                if not data:
                    raise OSError(f"{path} was truncated while it was read")
                left -= len(data)
                yield data
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)

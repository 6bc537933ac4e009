"""Downloads of models, checkpoints and files for browsers, authenticated by session."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api.dashboard.visitor import Visitor
from api.downloads import Download
from api.services.outputs import find_artifact, list_artifacts
from worker.jobs.errors import NotFoundError

_CHUNK_BYTES = 2**20

router = APIRouter(prefix="/download")


@router.get("/jobs/{job_id}/{name}.tar")
def download_model(request: Request, job_id: str, name: str) -> StreamingResponse:
    """Sends the final `model` or a checkpoint, such as `checkpoint-40`, as a tar archive."""
    visitor = Visitor.of(request)
    job = visitor.job(job_id)
    output = visitor.services.home.run_directory(job.id).output
    paths = model_files(output) if name == "model" else checkpoint_files(output, name)
    label = f"{job.id}-{name}"
    headers = {"content-disposition": f'attachment; filename="{label}.tar"'}
    return StreamingResponse(archive(paths, label), media_type="application/x-tar", headers=headers)


@router.get("/files/{file_id}", response_class=Download)
def download_file(request: Request, file_id: str) -> Download:
    """Sends an uploaded file unchanged."""
    visitor = Visitor.of(request)
    stored = visitor.file(file_id)
    path = visitor.services.files.content_path(stored.id)
    return Download(path, filename=stored.filename)


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

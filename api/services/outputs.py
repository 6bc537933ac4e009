"""Files that callers download or upload, and the loss curve of a job.

Of a job, only files in its output directory can be downloaded. Browsers save every file and never
display it, whatever its content. The loss curve has columns, read from `progress.jsonl`.
"""

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import UploadFile
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from api.dependencies import Services
from api.schemas.files import Artifact
from api.schemas.history import Metrics
from api.services.recorder import disk_error
from flant5_train.protocol.progress import Evaluated, StepTrained
from worker.jobs.errors import NotFoundError
from worker.jobs.storage.files import NewFile, StoredFile
from worker.jobs.storage.job_files import REMOVED
from worker.jobs.storage.run_files import read_steps


def find_artifact(output: Path, path: str) -> Path:
    """Returns the real path of a file or directory under `output`.

    Raises NotFoundError for anything else, including links that point outside.
    """
    root = output.resolve()
    missing = NotFoundError(f"no artifact {path!r}; the list is at .../artifacts")
    if "\0" in path:
        raise missing
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        if not path.strip("/"):
            raise NotFoundError("the job has written no output yet") from error
        raise missing from error
    if not found.is_relative_to(root) or not (found.is_file() or found.is_dir()):
        raise missing
    if _is_removed(found, root):
        raise missing
    return found


def list_artifacts(output: Path, directory: Path) -> tuple[Artifact, ...]:
    """Returns all files under `directory`, sorted by path. Paths are relative to `output`."""
    root = output.resolve()
    return tuple(_artifacts(root, directory))


def _is_removed(path: Path, root: Path) -> bool:
    """Returns True for a path that is being deleted."""
    return path.relative_to(root).as_posix().startswith(REMOVED)


def _artifacts(root: Path, directory: Path) -> Iterator[Artifact]:
    for path in sorted(directory.rglob("*")):
        try:
            if path.is_symlink() or not path.is_file():
                continue
            if _is_removed(path, root):
                continue
            num_bytes = path.stat().st_size
        except FileNotFoundError:
            # An old checkpoint may be deleted during the listing.
            continue
        yield Artifact(id=path.relative_to(root).as_posix(), bytes=num_bytes)


_BEFORE_NAME = re.compile(r".*[/\\]", re.DOTALL)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, bidirectional control characters, and surrogates."""


def content_disposition(filename: str) -> str:
    """Returns the file name for a download: the caller's name without its path.

    >>> [content_disposition(name) for name in ("../../.bashrc", "chats\x1b[2J.json", "..")]
    ['.bashrc', 'chats[2J.json', 'file']
    """
    name = _UNWRITABLE.sub("", _BEFORE_NAME.sub("", filename))
    return name if name.strip(". ") else "file"


class FileDownload(FileResponse):
    """Download of a caller's file. An unsatisfiable range returns an error in the common shape.
    Starlette's own response is a line of text, or empty."""

    def __init__(self, path: Path, *, filename: str) -> None:
        super().__init__(
            path, media_type="application/octet-stream", filename=content_disposition(filename)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_raise(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                size = self.headers["content-length"]
                raise HTTPException(
                    message["status"],
                    f"Range: outside the file of {size} bytes; expected `bytes=first-last`",
                    headers={"content-range": f"bytes */{size}"},
                )
            await send(message)

        await super().__call__(scope, receive, send_or_raise)


_CHUNK_BYTES = 2**20


def store_upload(file: UploadFile, *, purpose: str, owner: str, services: Services) -> StoredFile:
    """Stores an uploaded file on disk and counts it.

    Raises InvalidRequestError for its name or length, StorageQuotaError, StorageFullError and
    StorageFailedError.
    """
    new = NewFile.called(file.filename or "", purpose=purpose, owner=owner)
    with disk_errors(), services.quota.reserved(file.size or 0, owner=owner):
        stored = services.files.write(
            new,
            chunks=iter(lambda: file.file.read(_CHUNK_BYTES), b""),
            max_bytes=services.settings.max_file_bytes,
        )
    services.metrics.count_upload(stored.num_bytes)
    return stored


@contextmanager
def disk_errors() -> Iterator[None]:
    """Translates disk errors during an upload."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, f"the upload can't be stored: {error.strerror}") from error


_TRAIN = (
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_seen", "tokens_per_second"),
    *("source_fill", "target_fill", "tflops", "mfu", "gpu_memory_bytes"),
)
_EVALUATION = (
    "eval_loss",
    "eval_perplexity",
    "eval_token_accuracy",
    "eval_exact_match",
    "eval_rouge_l",
)


def read_curve(path: Path) -> Metrics:
    """Returns the curve so far. The columns are empty if the run has written no steps."""
    curve = read_steps(path)
    train = {name: _column(curve.steps.values(), name) for name in _TRAIN}
    evaluation = {name: _column(curve.evaluations.values(), name) for name in _EVALUATION}
    evaluation["eval_step"] = _column(curve.evaluations.values(), "step")
    return Metrics.model_validate(
        {**train, **evaluation, "num_malformed_lines": curve.num_malformed_lines}
    )


def _column(records: Iterable[StepTrained | Evaluated], name: str) -> tuple[float | None, ...]:
    values = (getattr(record, name) for record in records)
    # JSON can't represent NaN and infinity.
    return tuple(value if value is not None and math.isfinite(value) else None for value in values)

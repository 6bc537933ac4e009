"""Files in a job's output directory, for download. Nothing else is reachable."""

from collections.abc import Iterator
from pathlib import Path

from api.schemas.artifacts import Artifact
from worker.jobs.errors import NotFoundError
from worker.jobs.storage.job_files import REMOVED


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

"""Resolution of callers' paths, which must stay inside the data root."""

from pathlib import Path

from worker.jobs.errors import InvalidRequestError, NotFoundError


def path_under(root: Path, reference: str) -> Path:
    """Returns the real path of the regular file `reference` under `root`.

    Raises NotFoundError for a missing file. Raises InvalidRequestError for an absolute path, a
    path with `..`, a link that leads out, or a directory.
    """
    expected = "expected a file id, or a path relative to the data root that stays inside it"
    parts = Path(reference).parts
    if "\0" in reference or Path(reference).is_absolute() or ".." in parts or not parts:
        raise InvalidRequestError(f"{reference!r} is not allowed; {expected}")
    try:
        real_root = root.resolve(strict=True)
        path = (real_root / reference).resolve(strict=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {reference!r} under the data root; {expected}") from error
    except (OSError, RuntimeError) as error:
        raise InvalidRequestError(f"{reference!r} can't be opened ({error}); {expected}") from error
    if not path.is_relative_to(real_root):
        raise InvalidRequestError(f"{reference!r} is outside the data root; {expected}")
    if not path.is_file():
        raise InvalidRequestError(f"{reference!r} is not a regular file; {expected}")
    return path

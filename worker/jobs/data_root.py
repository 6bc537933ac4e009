"""Paths that callers may name: relative to the data root, and never out of it."""

from pathlib import Path

from worker.jobs.errors import InvalidRequestError, NotFoundError


def path_under(root: Path, reference: str) -> Path:
    """The real path of the regular file `reference` under `root`.

    Raises NotFoundError when there is none, InvalidRequestError for anything that is not such a
    path: an absolute one, one with `..`, a link that leads out, a directory.
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
        raise InvalidRequestError(f"{reference!r} leads out of the data root; {expected}")
    if not path.is_file():
        raise InvalidRequestError(f"{reference!r} is not a regular file; {expected}")
    return path

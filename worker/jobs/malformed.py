"""Files of ours that somebody else has damaged: what is wrong in them, and where."""

from pathlib import Path

from pydantic import ValidationError


class MalformedFileError(ValueError):
    """The message names the file, the field and what was expected."""

    def __init__(self, path: Path, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        super().__init__(f"{path}: {f'{place}: ' if place else ''}{first['msg']}")

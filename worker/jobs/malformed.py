"""Error for damaged files of the service."""

from pathlib import Path

from pydantic import ValidationError


class MalformedFileError(ValueError):
    """The file does not have the expected content; the message names file, field and problem."""

    def __init__(self, path: Path, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        super().__init__(f"{path}: {f'{place}: ' if place else ''}{first['msg']}")

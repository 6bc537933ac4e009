"""Resolves a file argument: a local path, or the id of a file on the server."""

import re
from pathlib import Path

from api.cli.client import Client
from api.cli.errors import CommandError

_FILE_ID = re.compile(r"file-[0-9a-z]+")


def file_id_of(client: Client, reference: str) -> str:
    """Returns the file id, after uploading a local file. Raises CommandError for anything else."""
    path = Path(reference)
    if path.is_file():
        file_id: str = client.upload(path)["id"]
        return file_id
    if _FILE_ID.fullmatch(reference):
        return reference
    raise CommandError(f"{reference} is neither a local file nor the id of an uploaded file")

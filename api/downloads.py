"""File downloads. Browsers save every file and never display it, whatever its content."""

import re
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

_BEFORE_NAME = re.compile(r".*[/\\]", re.DOTALL)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, bidirectional control characters, and surrogates."""


def saved_as(filename: str) -> str:
    """Returns the file name for a download: the caller's name without its path.

    >>> saved_as("../../.bashrc"), saved_as("chats\x1b[2J.json"), saved_as("..")
    ('.bashrc', 'chats[2J.json', 'file')
    """
    name = _UNWRITABLE.sub("", _BEFORE_NAME.sub("", filename))
    return name if name.strip(". ") else "file"


class Download(FileResponse):
    """Download of a caller's file. An unsatisfiable range returns an error in the common shape.
    Starlette's own response is a line of text, or empty."""

    def __init__(self, path: Path, *, filename: str) -> None:
        super().__init__(path, media_type="application/octet-stream", filename=saved_as(filename))

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

"""Files as answers: always saved and never shown, whatever is in them."""

from pathlib import Path

from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send


class Download(FileResponse):
    """A file of a caller's. A range of it that can't be sent is an error like all others; the
    library's own answer is a line of text, or nothing."""

    def __init__(self, path: Path, *, filename: str) -> None:
        # Half a surrogate pair can't be written in a header.
        name = filename.encode("utf-8", "replace").decode("utf-8")
        super().__init__(path, media_type="application/octet-stream", filename=name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_raise(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                size = 0 if self.stat_result is None else self.stat_result.st_size
                raise HTTPException(
                    message["status"],
                    f"Range: no part of a file of {size} bytes; expected `bytes=first-last`",
                    headers={"content-range": f"bytes */{size}"},
                )
            await send(message)

        await super().__call__(scope, receive, send_or_raise)

"""Routes that accept files: incoming data is spooled to the disk of HOME until it is complete.

Starlette spools to TMPDIR, which is often a small tmpfs. When it was full, the response was an
error about an unparsable body.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

from api.dependencies import Services
from api.http.errors import StorageFullInBodyError, UploadNotStoredError
from worker.jobs.storage.filesystem import is_full

_MULTIPART = "multipart/form-data"


class UploadRoute(APIRoute):
    """Route that spools multipart bodies to HOME. Pass it as `route_class`."""

    @staticmethod
    def services_of(request: Request) -> Services:
        services: Services = request.app.state.services
        return services

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_upload(request: Request) -> Response:
            incoming = self.services_of(request).home.incoming
            return await handle(_UploadRequest(request.scope, request.receive, incoming=incoming))

        return handle_upload


class _UploadRequest(Request):
    def __init__(self, scope: Scope, receive: Receive, *, incoming: Path) -> None:
        super().__init__(scope, receive)
        self._incoming = incoming

    async def _get_form(self, **limits: Any) -> FormData:
        is_multipart = self.headers.get("content-type", "").lower().startswith(_MULTIPART)
        if self._form is None and is_multipart:
            self._form = await self._received(**limits)
        return await super()._get_form(**limits)

    async def _received(self, **limits: Any) -> FormData:
        """Parses the form. Raises only HTTPException: FastAPI converts other errors."""
        directory = self._incoming
        try:
            directory.mkdir(parents=True, exist_ok=True)
            async with aclosing(self.stream()) as stream:
                parser = _HomeParser(self.headers, stream, directory=directory, **limits)
                return await parser.parse()
        except MultiPartException as error:
            raise HTTPException(400, error.message) from error
        except OSError as error:
            message = f"the upload can't be stored: {error.strerror}"
            raised = StorageFullInBodyError if is_full(error) else UploadNotStoredError
            raise raised(message) from error


class _HomeParser(MultiPartParser):
    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        *,
        directory: Path,
        **limits: Any,
    ) -> None:
        super().__init__(headers, stream, **limits)
        self._directory = directory

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is not None:
            # Replaces the spool in TMPDIR, which is still empty.
            spool = SpooledTemporaryFile(max_size=self.spool_max_size, dir=str(self._directory))  # noqa: SIM115
            self._files_to_close_on_error.pop().close()
            self._files_to_close_on_error.append(spool)
            self._current_part.file.file = cast(BinaryIO, spool)

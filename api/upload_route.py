"""Routes that take files: what a client sends waits on the disk of HOME until it is whole.

Starlette puts it into TMPDIR, which is often a small part of the memory; what did not fit there was
answered as a body that can't be parsed.
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

from api.errors import StorageFullInBodyError, UploadNotStoredError
from api.services import Services
from worker.jobs.room import is_full

_MULTIPART = "multipart/form-data"


class UploadRoute(APIRoute):
    """A route whose multipart bodies are spooled to HOME; to be given as `route_class`."""

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
        """FastAPI lets only an HTTPException pass."""
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
            # In place of the one that would go to TMPDIR; nothing is in it yet.
            spool = SpooledTemporaryFile(max_size=self.spool_max_size, dir=str(self._directory))  # noqa: SIM115
            self._files_to_close_on_error.pop().close()
            self._files_to_close_on_error.append(spool)
            self._current_part.file.file = cast(BinaryIO, spool)

"""REST API client of the commands, and their error reports.

Every failure becomes a CommandError: one readable line, and exit code 1. `local_url` returns the
address of the API for clients on the same machine.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx
import typer

from api.cli.settings import DEFAULT_URL, ClientSettings
from worker.jobs.http_client import REJECTED, NetworkSettingsError, open_client, through_proxy


class CommandError(Exception):
    """An error whose message is shown to the user."""


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Prints a CommandError as one line on standard error, or as JSON, and exits with code 1."""
    try:
        yield
    except CommandError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"message": str(error)}}))
        else:
            typer.echo(f"flant5: {error}", err=True)
        raise typer.Exit(1) from error


_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""The server sends a heartbeat every 15 seconds; a longer gap means a broken connection."""
_ANSWER_TIMEOUT = httpx.Timeout(None, connect=5.0)
"""For answers of models: the server has its own timeout."""
_PART_BYTES = 64 * 2**20

Json = dict[str, Any]


class UnavailableError(CommandError):
    """The server is temporarily unavailable (503)."""


class Client:
    """Client of one server; a context manager."""

    def __init__(self, settings: ClientSettings, *, timeout: httpx.Timeout = _TIMEOUT) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        if not (key.isascii() and key.isprintable()):
            raise CommandError("FLANT5_API_KEY contains a character that keys can't have")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._url = settings.api_url
        self._shown_url = _checked_url(settings.url, self._url)
        try:
            self._http = open_client(headers=headers, timeout=timeout)
        except NetworkSettingsError as error:
            raise CommandError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Json:
        return self._json("GET", path, params=params)

    def post(self, path: str, body: Json | None = None, **options: Any) -> Json:
        return self._json("POST", path, json=body, **options)

    def delete(self, path: str) -> Json:
        return self._json("DELETE", path)

    def pages(self, path: str, params: Mapping[str, str | int] | None = None) -> Iterator[Json]:
        """Yields all items of a list, page by page."""
        has_more, query = True, dict(params or {})
        while has_more:
            page = self.get(path, query)
            yield from page["data"]
            has_more = page["has_more"]
            query["after"] = page["last_id"]

    def upload(self, path: Path) -> Json:
        """Uploads a local file. Large files are sent in parts, which stay below request limits."""
        try:
            num_bytes = path.stat().st_size
            with path.open("rb") as file:
                if num_bytes > _PART_BYTES:
                    return self._upload_in_parts(file, path.name, num_bytes=num_bytes)
                return self._send_file("/files", {"file": (path.name, file)}, purpose="fine-tune")
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}") from error

    def _upload_in_parts(self, file: BinaryIO, name: str, *, num_bytes: int) -> Json:
        announced = {"bytes": num_bytes, "filename": name, "purpose": "fine-tune"}
        upload = self.post("/uploads", {**announced, "mime_type": "application/json"})
        path, part_ids = f"/uploads/{upload['id']}", []
        digest = hashlib.md5(usedforsecurity=False)
        while piece := file.read(_PART_BYTES):
            digest.update(piece)
            part_ids.append(self._send_file(f"{path}/parts", {"data": piece})["id"])
        request = {"part_ids": part_ids, "md5": digest.hexdigest()}
        stored: Json = self._json("POST", f"{path}/complete", json=request, timeout=None)["file"]
        return stored

    def _send_file(self, path: str, files: Mapping[str, Any], **fields: str) -> Json:
        return self._json("POST", path, files=files, data=fields, timeout=None)

    @contextmanager
    def stream(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
    ) -> Iterator[httpx.Response]:
        """Yields a streamed response: of a POST if there is a `body`, else of a GET.

        Raises httpx.HTTPError if the connection fails.
        """
        method, timeout = ("GET", _STREAM_TIMEOUT) if body is None else ("POST", _ANSWER_TIMEOUT)
        url = self._url + path
        request = self._http.build_request(method, url, headers=headers, json=body, timeout=timeout)
        try:
            response = self._http.send(request, stream=True)
        except (ValueError, httpx.InvalidURL) as error:
            raise self.unreachable(error) from error
        with closing(response):
            if response.is_error:
                response.read()
                raise self._refusal(response)
            yield response

    def _json(self, method: str, path: str, **options: Any) -> Json:
        try:
            response = self._http.request(method, self._url + path, **options)
        except REJECTED as error:
            raise self.unreachable(error) from error
        if response.is_error:
            raise self._refusal(response)
        try:
            answer: Json = response.json()
        except ValueError as error:
            raise CommandError(
                f"{self._shown_url}{through_proxy(self._url)} did not return JSON "
                f"({response.headers.get('content-type')}); check FLANT5_URL"
            ) from error
        return answer

    def unreachable(self, error: Exception) -> CommandError:
        """Returns the error for a failed connection, with its proxy or how to start a server.

        `error` is one of REJECTED.
        """
        reason = f"no response from {self._shown_url}"
        cause = f"({str(error) or type(error).__name__})"
        if proxy := through_proxy(self._url):
            return CommandError(
                f"{reason}{proxy} {cause}; correct that variable, or add the server's host to "
                "NO_PROXY to connect directly"
            )
        reason = f"{reason} {cause}"
        if self._url == DEFAULT_URL:
            return CommandError(f"{reason}; start a server with `flant5 up`, or set FLANT5_URL")
        return CommandError(f"{reason}; check FLANT5_URL, or start a server with `flant5 up`")

    def _refusal(self, response: httpx.Response) -> CommandError:
        try:
            error = response.json()["error"]
            message = str(error["message"])
        except (ValueError, KeyError, TypeError):
            status = f"{response.status_code} {response.reason_phrase}"
            message = f"{self._shown_url}{through_proxy(self._url)} returned {status}"
        if response.status_code == httpx.codes.UNAUTHORIZED:
            message += "; set FLANT5_API_KEY to your key"
        if response.status_code == httpx.codes.NOT_FOUND and "/fine_tuning/jobs/" in str(
            response.url
        ):
            message += " (see `flant5 jobs`)"
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return UnavailableError(message)
        return CommandError(message)


def _checked_url(given: str, url: str) -> str:
    """Returns `url` without credentials, for messages. Raises CommandError if it is invalid."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CommandError(f"FLANT5_URL is {given!r}, which is not a URL ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise CommandError(f"FLANT5_URL is {given!r}; expected a URL such as {DEFAULT_URL}")
    return str(parts.copy_with(username="", password="")) if parts.userinfo else url


_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def local_url(host: str, port: int) -> str:
    """
    >>> local_url("0.0.0.0", 8000), local_url("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    reachable = _ANY.get(host, host)
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"

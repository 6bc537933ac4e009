"""Uploads while the server is killed: nothing acknowledged is lost, nothing half is a file."""

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import httpx
import pytest
from openai import APIConnectionError, OpenAI

from api.settings import ApiSettings
from tests.api.cli_runs import started
from tests.api.scenes import wait_until
from tests.ports import free_port

PROGRAM = (sys.executable, "-m", "api")


class Server:
    """A server process that is killed and started again at the same place."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"

    @contextmanager
    def running(self, *, killed_after: float | None = None) -> Iterator[OpenAI]:
        with started(
            PROGRAM,
            home=self._settings.home,
            redis_url=self._settings.redis_url.get_secret_value(),
            port=str(self._port),
        ) as process:
            wait_until(self._answers, what="the server")
            killer = Timer(killed_after or 0, process.kill)
            with OpenAI(base_url=self.url, api_key="any", max_retries=0) as sdk:
                if killed_after is not None:
                    killer.start()
                yield sdk
            killer.cancel()

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url.removesuffix("/v1") + "/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def server(settings: ApiSettings) -> Server:
    return Server(settings)


def test_parts_survive_a_kill_and_the_upload_goes_on(server: Server) -> None:
    pieces = [random.Random(number).randbytes(300_000) for number in range(4)]
    whole = b"".join(pieces)
    with server.running() as sdk:
        upload = sdk.uploads.create(
            bytes=len(whole), filename="a", mime_type="text/plain", purpose="fine-tune"
        )
        parts = [sdk.uploads.parts.create(upload.id, data=piece) for piece in pieces[:2]]
    with server.running() as sdk:
        parts += [sdk.uploads.parts.create(upload.id, data=piece) for piece in pieces[2:]]
    with server.running() as sdk:
        done = sdk.uploads.complete(
            upload.id,
            part_ids=[part.id for part in parts],
            md5=hashlib.md5(whole).hexdigest(),
        )
        assert done.file is not None
        assert sdk.files.content(done.file.id).read() == whole
        assert [file.id for file in sdk.files.list()] == [done.file.id]


@pytest.mark.stack
def test_a_server_killed_while_it_completes_ends_with_one_whole_file(
    server: Server, settings: ApiSettings
) -> None:
    piece = random.Random(1).randbytes(24 * 2**20)
    with server.running() as sdk:
        upload = sdk.uploads.create(
            bytes=2 * len(piece), filename="a", mime_type="text/plain", purpose="fine-tune"
        )
        part_ids = [sdk.uploads.parts.create(upload.id, data=piece).id for _ in range(2)]
    for seconds in (0.01, 0.05, 0.1):
        with server.running(killed_after=seconds) as sdk, suppress(APIConnectionError):
            sdk.uploads.complete(upload.id, part_ids=part_ids)
        for directory in (settings.home / "files").glob("*"):
            if (directory / "meta.json").exists():
                assert (directory / "content").stat().st_size == 2 * len(piece)
    with server.running() as sdk:
        done = sdk.uploads.complete(upload.id, part_ids=part_ids)
        assert done.file is not None
        assert [file.id for file in sdk.files.list()] == [done.file.id]
    assert [path.name for path in (settings.home / "files").iterdir()] == [done.file.id]
    content = Path(settings.home / "files" / done.file.id / "content").read_bytes()
    assert content == piece * 2

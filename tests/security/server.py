"""The API as it runs in production, alone with its Redis: nothing works on what is submitted, so
that whatever changes was changed by a request."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from typer.testing import CliRunner

from api.cli.main import app as cli
from api.cli.stack.redis import EmbeddedRedis
from tests.api.scenes import CONVERSATIONS
from tests.ports import free_port
from tests.security.victim import Victim
from tests.security.wire import Wire
from tests.stack.part import Part, Program
from tests.stack.service import NO_TLS, wait_until
from worker.jobs.store.redis import open_redis

LIMITS = {
    "FLANT5_MAX_BODY_BYTES": str(2**20),
    "FLANT5_MAX_FILE_BYTES": str(2 * 2**20),
    "FLANT5_MAX_UPLOAD_BYTES": str(16 * 2**20),
}


@dataclass(frozen=True, slots=True)
class State:
    """All that a request may have left behind."""

    files: Mapping[str, int]
    """Paths under HOME and in the directory for temporary files, with their sizes."""
    keys: Mapping[str, bytes | None]
    """Redis keys with their content."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running API."""

    process: Part
    port: int
    directory: Path
    redis: EmbeddedRedis
    key: str

    @property
    def authorization(self) -> str:
        return f"Bearer {self.key}"

    @property
    def log(self) -> str:
        return self.process.program.log.read_text(encoding="utf-8", errors="replace")

    def wire(self) -> Wire:
        return Wire("127.0.0.1", self.port)

    def client(self) -> httpx.Client:
        """With a key; close it."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/v1",
            headers={"Authorization": self.authorization},
            timeout=60,
            trust_env=False,
        )

    def state(self) -> State:
        places = (self.directory / "home", self.directory / "tmp")
        found = (path for place in places for path in place.rglob("*"))
        with open_redis(self.redis.url) as redis:
            keys = {str(key): redis.dump(key) for key in redis.scan_iter(count=1000)}
        files = {
            str(path.relative_to(self.directory)): path.stat().st_size if path.is_file() else 0
            for path in found
            # Locks are of an upload that was there before: whoever wanted to change it took one.
            # The audit log has to grow, and bodies wait in `incoming`, in files without a name.
            if path.name not in ("lock", "audit", "incoming") and path.parent.name != "audit"
        }
        return State(files=files, keys=keys)

    def wait_until_ready(self) -> None:
        wait_until(lambda: _is_ready(self), seconds=60)

    def restart(self) -> None:
        """Killed and started again, which takes nothing along but its memory."""
        self.process.kill(away_seconds=0)
        self.process.keep_alive()
        self.wait_until_ready()

    def num_open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def victim(self) -> Victim:
        """A file, an upload and a job, all of them real."""
        with self.client() as client:
            file = client.post(
                "/files",
                data={"purpose": "fine-tune"},
                files={"file": ("chats.json", CONVERSATIONS)},
            )
            announced = {
                "filename": "a.jsonl",
                "bytes": 10,
                "mime_type": "text/jsonl",
                "purpose": "fine-tune",
            }
            upload = client.post("/uploads", json=announced)
            spec = {"model": "flant5-demo", "training_file": file.json()["id"]}
            job = client.post("/fine_tuning/jobs", json=spec)
        return Victim(
            file_id=file.json()["id"], upload_id=upload.json()["id"], job_id=job.json()["id"]
        )


@contextmanager
def running_server(directory: Path, **settings: str) -> Iterator[Server]:
    """With one key, and with small limits unless `settings` say otherwise."""
    keys_file, data = directory / "keys", directory / "data"
    for path in (directory / "tmp", data):
        path.mkdir()
    (data / "chats.json").write_bytes(CONVERSATIONS)
    port = free_port()
    with EmbeddedRedis(directory / "redis") as redis:
        environment = {
            **os.environ,
            **LIMITS,
            "FLANT5_HOME": str(directory / "home"),
            "FLANT5_PORT": str(port),
            "FLANT5_REDIS_URL": redis.url.get_secret_value(),
            "FLANT5_API_KEYS_FILE": str(keys_file),
            "FLANT5_DATA_ROOT": str(data),
            "TMPDIR": str(directory / "tmp"),
            **settings,
        }
        key = _new_key(keys_file)
        argv = (sys.executable, "-m", "api")
        process = Part(Program("api", argv, environment, directory / "api.log"))
        server = Server(process=process, port=port, directory=directory, redis=redis, key=key)
        process.keep_alive()
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.stop()


def _is_ready(server: Server) -> bool:
    assert server.process.is_alive, server.log
    try:
        url = f"http://127.0.0.1:{server.port}/readyz"
        return httpx.get(url, verify=NO_TLS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _new_key(file: Path) -> str:
    scopes = [text for scope in ("read", "submit", "admin") for text in ("--scope", scope)]
    made = CliRunner().invoke(
        cli, ["keys", "create", "alice", *scopes, "--file", str(file), "--json"]
    )
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["key"])

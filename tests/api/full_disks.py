"""Disks that take no record of a job, and requests that meet them."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from api.settings import ApiSettings
from tests.small_disk import fill, small_disk

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}
RETRY = {"x-stainless-retry-count": "1"}


class FullDisks:
    """No room for the records of some jobs: their run directories are small disks, and full."""

    def __init__(self, settings: ApiSettings, mounts: ExitStack) -> None:
        self._home = settings.home_directories
        self._mounts = mounts
        self._ballast: list[Path] = []

    def refuse(self, *job_ids: str) -> None:
        for job_id in job_ids:
            directory = self._home.run_directory(job_id).path
            there = {path.name: path.read_bytes() for path in directory.glob("*")}
            disk = self._mounts.enter_context(small_disk(directory, num_bytes=2**16))
            for name, content in there.items():
                (disk / name).write_bytes(content)
            self._ballast.append(fill(disk, leaving_bytes=0))

    def has_room_again(self) -> None:
        for ballast in self._ballast:
            ballast.unlink()
        self._ballast.clear()


def create(client: TestClient, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/fine_tuning/jobs", json=REQUEST, headers=named)


def ask(client: TestClient, job_id: str, wish: str, **headers: str) -> Any:
    return client.post(f"/fine_tuning/jobs/{job_id}/{wish}", headers=headers)


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error

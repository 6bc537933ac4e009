"""What was acknowledged is on disk; what can't be put there is not acknowledged and doesn't run."""

import string
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.recorder import Recorder
from api.settings import ApiSettings
from tests.api.scenes import make_job
from tests.small_disk import fill, small_disk
from worker.jobs.errors import InvalidRequestError, StoreUnavailableError
from worker.jobs.job import Job
from worker.jobs.ledger import JobRecord, Ledger, Wish
from worker.jobs.life import Status
from worker.jobs.store import JobStore
from worker.jobs.update import Claim

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}
KEY = {"idempotency-key": "one"}
RETRY = {"x-stainless-retry-count": "1"}


@pytest.fixture
def ledger(settings: ApiSettings) -> Ledger:
    return Ledger(settings.home_directories)


@pytest.fixture
def next_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that the next creates draw, also those that then find an earlier job."""
    ids = [f"ftjob-{letter * 24}" for letter in string.ascii_lowercase]
    names = iter(ids)
    monkeypatch.setattr("worker.jobs.store._new_job_id", lambda: next(names))
    return ids


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


@pytest.fixture
def disk(settings: ApiSettings) -> Iterator[FullDisks]:
    with ExitStack() as mounts:
        yield FullDisks(settings, mounts)


@pytest.fixture
def broken_jobs_directory(settings: ApiSettings) -> Iterator[None]:
    """Errors that are no lack of room: where the run directories should be is a file."""
    path = settings.home_directories.jobs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    yield
    path.unlink()


def create(client: TestClient, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/fine_tuning/jobs", json=REQUEST, headers=named)


def ask(client: TestClient, job_id: str, wish: str, **headers: str) -> Any:
    return client.post(f"/fine_tuning/jobs/{job_id}/{wish}", headers=headers)


def error_of(response: Any) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_each_acknowledged_wish_is_on_disk(
    client: TestClient, ledger: Ledger, store: JobStore
) -> None:
    job_id = create(client).json()["id"]
    assert ledger.read(job_id) == JobRecord.of(store.get(job_id))
    for wish, recorded in (
        ("pause", Wish.PAUSE),
        ("resume", Wish.GO_ON),
        ("cancel", Wish.CANCEL),
        ("resume", Wish.GO_ON),
    ):
        assert ask(client, job_id, wish).status_code == 200
        assert ledger.read(job_id).wish is recorded
    assert ledger.read(job_id).result_floor == store.get(job_id).epoch


def test_a_wish_for_a_running_job_is_on_disk_before_its_worker_heard_of_it(
    client: TestClient, ledger: Ledger, running_job: Claim
) -> None:
    ask(client, running_job.job.id, "pause")
    assert ledger.read(running_job.job.id).wish is Wish.PAUSE
    ask(client, running_job.job.id, "cancel")
    assert ledger.read(running_job.job.id).wish is Wish.CANCEL


def test_a_create_on_a_full_disk_is_refused_and_its_job_cancelled(
    client: TestClient, store: JobStore, ledger: Ledger, disk: FullDisks, next_ids: list[str]
) -> None:
    disk.refuse(next_ids[0])
    response = create(client)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (507, "storage_full")
    assert "No space left on device" in error["message"]
    assert f"job {next_ids[0]} was cancelled again" in error["message"]
    assert response.headers["x-should-retry"] == "false"
    assert store.get(next_ids[0]).status is Status.CANCELLED
    assert ledger.job_ids() == ()


@pytest.mark.usefixtures("broken_jobs_directory")
def test_a_create_on_a_broken_disk_says_when_to_try_again(
    client: TestClient, store: JobStore, next_ids: list[str]
) -> None:
    response = create(client)
    assert (response.status_code, error_of(response)["code"]) == (503, "storage_failed")
    assert int(response.headers["retry-after"]) > 0
    assert store.get(next_ids[0]).status is Status.CANCELLED


@pytest.mark.parametrize("headers", [KEY, RETRY], ids=["idempotency key", "retry of the SDK"])
def test_a_retry_of_what_was_given_up_makes_one_new_job(
    client: TestClient,
    ledger: Ledger,
    disk: FullDisks,
    next_ids: list[str],
    headers: dict[str, str],
) -> None:
    # The try at its first job fails, and so does the one at the job that follows it.
    disk.refuse(next_ids[0], next_ids[2])
    assert create(client, **headers).status_code == 507
    assert create(client, **headers).status_code == 507
    disk.has_room_again()
    made = [create(client, **headers).json() for _ in range(3)]
    assert {job["status"] for job in made} == {"validating_files"}
    (new_id,) = {job["id"] for job in made}
    assert new_id not in (next_ids[0], next_ids[2])
    assert ledger.job_ids() == (new_id,)


def test_a_retry_of_an_acknowledged_job_gets_it_on_a_full_disk_too(
    client: TestClient, store: JobStore, disk: FullDisks
) -> None:
    job_id = create(client, **KEY).json()["id"]
    disk.refuse(job_id)
    again = create(client, **KEY)
    assert (again.status_code, again.json()["id"]) == (200, job_id)
    assert store.get(job_id).status is Status.VALIDATING_FILES


def test_a_retry_gets_a_job_that_its_caller_cancelled(client: TestClient) -> None:
    job_id = create(client, **KEY).json()["id"]
    ask(client, job_id, "cancel")
    assert create(client, **KEY).json()["id"] == job_id


def test_a_retry_records_a_job_whose_first_try_ended_before_it_could(
    client: TestClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, next_ids: list[str]
) -> None:
    def killed(self: Recorder, job_id: str) -> Job:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record_new", killed)
        assert create(client, **KEY).status_code == 500
    assert ledger.job_ids() == ()
    assert create(client, **KEY).json()["id"] == next_ids[0]
    assert ledger.read(next_ids[0]).wish is Wish.GO_ON


def test_a_job_that_is_cancelled_before_it_is_on_disk_stays_cancelled(
    client: TestClient, store: JobStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_new = Recorder.record_new

    def late(self: Recorder, job_id: str) -> Job | None:
        with suppress(InvalidRequestError):
            store.cancel(store.list(after=None, limit=9).items[-1].id)  # somebody saw the first
        return record_new(self, job_id)

    monkeypatch.setattr(Recorder, "record_new", late)
    job = create(client).json()
    assert job["status"] == "cancelled"
    assert [each.id for each in store.list(after=None, limit=9).items] == [job["id"]]
    assert ledger.read(job["id"]).wish is Wish.CANCEL


def test_a_job_that_can_neither_be_recorded_nor_cancelled_is_named_and_its_retry_takes_it_up(
    client: TestClient, disk: FullDisks, monkeypatch: pytest.MonkeyPatch, next_ids: list[str]
) -> None:
    def away(self: JobStore, job_id: str) -> Job:
        raise StoreUnavailableError("Redis is not available: gone")

    disk.refuse(next_ids[0])
    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "give_up", away)
        message = error_of(create(client, **KEY))["message"]
    assert f"job {next_ids[0]} may run nevertheless" in message
    disk.has_room_again()
    assert create(client, **KEY).json()["id"] == next_ids[0]


def test_a_wish_on_a_full_disk_is_carried_out_but_not_acknowledged(
    client: TestClient, store: JobStore, ledger: Ledger, disk: FullDisks
) -> None:
    job_id = create(client).json()["id"]
    disk.refuse(job_id)
    response = ask(client, job_id, "cancel")
    error = error_of(response)
    assert (response.status_code, error["code"]) == (507, "storage_full")
    assert f"job {job_id} is now cancelled, but" in error["message"]
    assert store.get(job_id).status is Status.CANCELLED
    # Not even by the refusal of a second one.
    assert ask(client, job_id, "cancel").status_code == 507
    disk.has_room_again()
    assert ask(client, job_id, "cancel").status_code == 400
    assert ledger.read(job_id).wish is Wish.CANCEL


def test_a_retried_wish_is_acknowledged_when_there_is_room(
    client: TestClient, ledger: Ledger, disk: FullDisks, running_job: Claim
) -> None:
    job_id = running_job.job.id
    disk.refuse(job_id)
    response = ask(client, job_id, "pause")
    assert response.status_code == 507
    assert "is now being paused" in error_of(response)["message"]
    disk.has_room_again()
    assert ask(client, job_id, "pause", **RETRY).status_code == 200
    assert ledger.read(job_id).wish is Wish.PAUSE


def test_requests_that_meet_leave_the_record_of_how_the_job_stands(
    settings: ApiSettings, store: JobStore, ledger: Ledger
) -> None:
    recorder = Recorder(store, settings.home_directories)
    job_id = make_job(store).id
    finished: list[bool] = []

    def change_your_mind() -> None:
        for wish in (store.pause, store.resume) * 10:
            with suppress(InvalidRequestError):  # another thread was first
                wish(job_id)
            recorder.record(job_id)
        finished.append(True)

    threads = [threading.Thread(target=change_your_mind) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(finished) == len(threads)
    assert ledger.read(job_id) == JobRecord.of(store.get(job_id))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/events"),
        ("GET", "/logs"),
        ("GET", "/checkpoints"),
        ("GET", "/metrics"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/config.json"),
    ],
)
def test_an_acknowledged_job_that_the_store_lost_is_not_called_unknown(
    client: TestClient, store: JobStore, settings: ApiSettings, method: str, path: str
) -> None:
    job_id = create(client).json()["id"]
    client.app.state.services.redis.flushall()  # type: ignore[attr-defined]
    response = client.request(method, f"/fine_tuning/jobs/{job_id}{path}")
    assert (response.status_code, error_of(response)["code"]) == (503, "job_not_restored")
    assert "flant5 recover" in error_of(response)["message"]
    assert int(response.headers["retry-after"]) > 0
    unknown = client.request(method, f"/fine_tuning/jobs/ftjob-none{path}")
    assert unknown.status_code == 404

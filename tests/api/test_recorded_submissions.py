"""A job that was acknowledged is on disk; one that can't be put there is cancelled, and its
submission, sent again, makes another."""

import string
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from fastapi.testclient import TestClient

from api.services.recorder import Recorder
from api.settings import ApiSettings
from tests.api.full_disks import RETRY, FullDisks, ask, create, error_of
from worker.jobs.errors import InvalidRequestError, StoreUnavailableError
from worker.jobs.job import Job, Status
from worker.jobs.storage.job_record import DesiredState, JobRecordStore
from worker.jobs.store.store import JobStore

KEY = {"idempotency-key": "one"}


@pytest.fixture
def next_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that the next creates draw, also those that then find an earlier job."""
    ids = [f"ftjob-{letter * 24}" for letter in string.ascii_lowercase]
    names = iter(ids)
    monkeypatch.setattr("worker.jobs.store.store._new_job_id", lambda: next(names))
    return ids


@pytest.fixture
def broken_jobs_directory(settings: ApiSettings) -> Iterator[None]:
    """Errors that are no lack of room: where the run directories should be is a file."""
    path = settings.home_directories.jobs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    yield
    path.unlink()


def test_a_create_on_a_full_disk_is_refused_and_its_job_cancelled(
    client: TestClient,
    store: JobStore,
    ledger: JobRecordStore,
    disk: FullDisks,
    next_ids: list[str],
) -> None:
    disk.refuse(next_ids[0])
    response = create(client)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (507, "storage_full")
    assert "No space left on device" in error["message"]
    assert f"job {next_ids[0]} was cancelled: submit it again" in error["message"]
    assert response.headers["x-should-retry"] == "false"
    assert store.get(next_ids[0]).status is Status.CANCELLED
    assert tuple(ledger.job_ids()) == ()


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
    ledger: JobRecordStore,
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
    assert tuple(ledger.job_ids()) == (new_id,)


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
    client: TestClient, ledger: JobRecordStore, monkeypatch: pytest.MonkeyPatch, next_ids: list[str]
) -> None:
    def killed(self: Recorder, job_id: str, **_: object) -> Job:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record_new", killed)
        assert create(client, **KEY).status_code == 500
    assert tuple(ledger.job_ids()) == ()
    assert create(client, **KEY).json()["id"] == next_ids[0]
    assert ledger.read(next_ids[0]).wish is DesiredState.GO_ON


def test_a_job_that_is_cancelled_before_it_is_on_disk_stays_cancelled(
    client: TestClient, store: JobStore, ledger: JobRecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_new = Recorder.record_new

    def late(self: Recorder, job_id: str, *, confirm: Callable[[], None]) -> Job | None:
        with suppress(InvalidRequestError):
            store.cancel(store.list(after=None, limit=9).items[-1].id)  # somebody saw the first
        return record_new(self, job_id, confirm=confirm)

    monkeypatch.setattr(Recorder, "record_new", late)
    job = create(client).json()
    assert job["status"] == "cancelled"
    assert [each.id for each in store.list(after=None, limit=9).items] == [job["id"]]
    assert ledger.read(job["id"]).wish is DesiredState.CANCEL


def test_a_job_that_can_neither_be_recorded_nor_cancelled_is_named_and_its_retry_takes_it_up(
    client: TestClient, disk: FullDisks, monkeypatch: pytest.MonkeyPatch, next_ids: list[str]
) -> None:
    def away(self: JobStore, job_id: str) -> Job:
        raise StoreUnavailableError("Redis is not available: gone")

    disk.refuse(next_ids[0])
    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "cancel_by_system", away)
        message = error_of(create(client, **KEY))["message"]
    assert f"job {next_ids[0]} may still run, because" in message
    disk.has_room_again()
    assert create(client, **KEY).json()["id"] == next_ids[0]

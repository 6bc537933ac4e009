"""What was acknowledged is on disk; what can't be put there is not acknowledged and doesn't run."""

import threading
from contextlib import suppress

import pytest
from fastapi.testclient import TestClient

from api.services.recorder import Recorder
from api.settings import ApiSettings
from tests.api.full_disks import RETRY, FullDisks, ask, create, error_of
from tests.api.scenes import make_job
from worker.jobs.errors import InvalidRequestError
from worker.jobs.job import Status
from worker.jobs.storage.job_record import DesiredState, JobRecord, JobRecordStore
from worker.jobs.store.serialization import Claim
from worker.jobs.store.store import JobStore


def test_each_acknowledged_wish_is_on_disk(
    client: TestClient, ledger: JobRecordStore, store: JobStore
) -> None:
    job_id = create(client).json()["id"]
    assert ledger.read(job_id) == JobRecord.of(store.get(job_id))
    for wish, recorded in (
        ("pause", DesiredState.PAUSE),
        ("resume", DesiredState.GO_ON),
        ("cancel", DesiredState.CANCEL),
        ("resume", DesiredState.GO_ON),
    ):
        assert ask(client, job_id, wish).status_code == 200
        assert ledger.read(job_id).wish is recorded
    assert ledger.read(job_id).result_floor == store.get(job_id).epoch


def test_a_wish_for_a_running_job_is_on_disk_before_its_worker_heard_of_it(
    client: TestClient, ledger: JobRecordStore, running_job: Claim
) -> None:
    ask(client, running_job.job.id, "pause")
    assert ledger.read(running_job.job.id).wish is DesiredState.PAUSE
    ask(client, running_job.job.id, "cancel")
    assert ledger.read(running_job.job.id).wish is DesiredState.CANCEL


def test_a_wish_on_a_full_disk_is_carried_out_but_not_acknowledged(
    client: TestClient, store: JobStore, ledger: JobRecordStore, disk: FullDisks
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
    assert ledger.read(job_id).wish is DesiredState.CANCEL


def test_a_retried_wish_is_acknowledged_when_there_is_room(
    client: TestClient, ledger: JobRecordStore, disk: FullDisks, running_job: Claim
) -> None:
    job_id = running_job.job.id
    disk.refuse(job_id)
    response = ask(client, job_id, "pause")
    assert response.status_code == 507
    assert "is now being paused" in error_of(response)["message"]
    disk.has_room_again()
    assert ask(client, job_id, "pause", **RETRY).status_code == 200
    assert ledger.read(job_id).wish is DesiredState.PAUSE


def test_requests_that_meet_leave_the_record_of_how_the_job_stands(
    settings: ApiSettings, store: JobStore, ledger: JobRecordStore
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

"""A loss of the store that the controller noticed, as it is shown until it is over."""

import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.cli.doctor.check import State
from api.cli.doctor.redis import check_losses
from api.settings import ApiSettings
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.store_losses import DataLoss, DataLossLog
from worker.jobs.store.recovery import Problem, Recovery, RecoveryRequests, RestoredJob
from worker.jobs.store.redis import Scripts

Lose = Callable[..., DataLoss]


@pytest.fixture
def lose(settings: ApiSettings) -> Lose:
    log = DataLossLog(settings.home_directories.losses)

    def append(*, seconds_ago: float = 0.0, **found: object) -> DataLoss:
        found = {"num_missing": 2, "jobs": ("ftjob-1", "ftjob-2")} | found
        loss = DataLoss.model_validate(
            {"noticed_at": time.time() - seconds_ago, "cause": "the count went back"} | found
        )
        log.append(loss)
        return loss

    return append


def recovered(redis: Redis, loss: DataLoss, *problems: Problem) -> None:
    known = RecoveryRequests(Scripts(redis, QueuePolicy())).state()
    restored = tuple(RestoredJob(id=job, status=Status.QUEUED) for job in loss.jobs)
    done = Recovery(
        status="done",
        requested_at=loss.noticed_at,
        finished_at=loss.noticed_at + 1,
        restored=restored,
        problems=problems,
    )
    assert RecoveryRequests(Scripts(redis, QueuePolicy())).replace(known, done)


def ready(client: TestClient) -> dict[str, object]:
    answer = client.get("http://testserver/readyz")
    assert answer.status_code == 200, "jobs can be submitted"
    return dict(answer.json())


def test_a_loss_degrades_readiness_for_a_while_or_until_all_jobs_are_back(
    client: TestClient, redis: Redis, lose: Lose
) -> None:
    assert ready(client) == {"status": "ok", "reason": None}
    loss = lose(seconds_ago=3600)
    assert ready(client)["status"] == "degraded"
    assert "not restored yet" in str(ready(client)["reason"])
    problem = Problem(id="ftjob-2", message="job.json: no JSON")
    recovered(redis, loss, problem)
    assert "1 could not be restored" in str(ready(client)["reason"])
    recovered(redis, loss)
    assert ready(client) == {"status": "ok", "reason": None}
    recovered(redis, lose())
    assert ready(client)["status"] == "degraded"
    assert "all are back" in str(ready(client)["reason"])


def test_a_loss_that_was_found_in_several_rounds_is_over_when_its_recovery_ends_after_the_last(
    client: TestClient, redis: Redis, lose: Lose
) -> None:
    loss = lose(seconds_ago=3600)
    desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
    first = Recovery(status="requested", requested_at=loss.noticed_at - 60)
    assert desk.replace(None, first)
    assert "0 are restored so far" in str(ready(client)["reason"])
    early = first.model_copy(update={"status": "done", "finished_at": loss.noticed_at - 30})
    assert desk.replace(first, early)
    assert "not restored yet" in str(ready(client)["reason"])
    late = early.model_copy(update={"finished_at": loss.noticed_at + 30})
    assert desk.replace(early, late)
    assert ready(client) == {"status": "ok", "reason": None}


def test_a_loss_without_jobs_is_shown_for_a_while(client: TestClient, lose: Lose) -> None:
    lose(seconds_ago=3600, num_missing=0, jobs=())
    assert ready(client)["status"] == "ok"
    lose(num_missing=0, jobs=())
    assert "the count went back" in str(ready(client)["reason"])


def test_metrics_count_losses_and_what_is_not_back(
    client: TestClient, redis: Redis, lose: Lose
) -> None:
    lose(num_older=1)
    loss = lose()
    recovered(redis, loss, Problem(id="ftjob-2", message="x"))
    text = client.get("http://testserver/metrics").text
    assert "flant5_store_losses_total 2.0" in text
    assert "flant5_store_lost_jobs_total 5.0" in text
    assert "flant5_store_unrestored_jobs 1.0" in text


def test_the_doctor_names_a_loss_of_the_last_week(
    redis: Redis, settings: ApiSettings, lose: Lose
) -> None:
    def state() -> State:
        return check_losses(settings.redis_url, settings.home_directories).state

    assert state() is State.OK
    recovered(redis, lose(seconds_ago=8 * 24 * 3600))
    assert state() is State.OK
    loss = lose()
    assert state() is State.FAILED
    recovered(redis, loss)
    assert state() is State.WARNING

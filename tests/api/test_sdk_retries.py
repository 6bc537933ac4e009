"""The unmodified SDK tries again: one submission stays one job, one wish one answer."""

import threading

import pytest
from openai import (
    APITimeoutError,
    OpenAI,
)

from tests.api.scenes import first_create_held_back
from tests.api.sdk_jobs import create, status_of
from tests.conformance.program.slow_network import slow_network
from worker.jobs.job import Job
from worker.jobs.store.store import JobStore


def test_a_wish_slower_than_the_clients_patience_is_answered_by_its_retry(
    sdk: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = create(sdk)
    pause, paused, answers = JobStore.pause, threading.Event(), threading.Event()

    def pause_and_answer_late(store: JobStore, wanted: str) -> Job:
        if paused.is_set():
            return pause(store, wanted)
        job = pause(store, wanted)
        paused.set()
        assert answers.wait(timeout=20)
        return job

    monkeypatch.setattr(JobStore, "pause", pause_and_answer_late)
    patient = sdk.with_options(timeout=1, max_retries=2)
    assert status_of(patient.fine_tuning.jobs.pause(job_id)) == "paused"
    answers.set()


def test_a_create_slower_than_the_clients_patience_makes_one_job(
    sdk: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with first_create_held_back(monkeypatch) as held:
        job_id = create(sdk.with_options(timeout=0.5, max_retries=2))
        held.finish()
    assert [job.id for job in sdk.fine_tuning.jobs.list()] == [job_id]


def test_requests_that_arrive_after_their_own_retry_make_no_second_job(
    sdk: OpenAI, server_url: str
) -> None:
    with slow_network(server_url, num_slow=2, holds_requests=True) as (network, url):
        with OpenAI(base_url=url, api_key="any", timeout=2, max_retries=2) as impatient:
            job_id = create(impatient)
        assert network.num_connections == 3
        network.release()
    assert [job.id for job in sdk.fine_tuning.jobs.list()] == [job_id]


def test_a_client_that_gave_up_can_submit_again(
    sdk: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with first_create_held_back(monkeypatch) as held:
        with pytest.raises(APITimeoutError):
            create(sdk.with_options(timeout=0.5, max_retries=0))
        held.finish()
    create(sdk)
    assert len(list(sdk.fine_tuning.jobs.list())) == 2


def test_two_deliberate_creates_make_two_jobs(sdk: OpenAI) -> None:
    assert create(sdk) != create(sdk)
    assert len(list(sdk.fine_tuning.jobs.list())) == 2

"""Several worker containers: jobs side by side, and jobs on several of them."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.commands import run
from tests.docker.project import Project
from tests.docker.work import create, ended, extra, follow, get, is_beyond, losses
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

LONG: dict[str, Any] = {"max_steps": 5000, "save_steps": 5000, "model_max_length": 64}


@pytest.fixture(scope="module")
def sdk(stack: Project) -> Iterator[openai.OpenAI]:
    with stack.sdk() as sdk:
        yield sdk


def worker_of(sdk: openai.OpenAI, job_id: str) -> str:
    """Of several the first, which leads."""
    return str(extra(sdk.fine_tuning.jobs.retrieve(job_id), "workers")[0])


def test_two_workers_run_two_jobs_at_once(stack: Project, sdk: openai.OpenAI) -> None:
    stack.start("--scale", "worker-cpu=2")
    jobs = [create(sdk, **LONG) for _ in range(2)]
    wait_until(lambda: all(is_beyond(sdk, job_id, 0) for job_id in jobs), seconds=180)
    assert len({worker_of(sdk, job_id) for job_id in jobs}) == 2
    for job_id in jobs:
        sdk.fine_tuning.jobs.cancel(job_id)


def test_with_one_worker_the_second_job_waits_and_says_for_what(
    stack: Project, sdk: openai.OpenAI
) -> None:
    stack.start("--scale", "worker-cpu=1")
    first, second = (create(sdk, **LONG) for _ in range(2))
    wait_until(lambda: is_beyond(sdk, first, 0), seconds=180)
    waiting = sdk.fine_tuning.jobs.retrieve(second)
    assert waiting.status == "queued"
    assert worker_of(sdk, first) in extra(waiting, "waiting_for")
    for job_id in (first, second):
        sdk.fine_tuning.jobs.cancel(job_id)


def test_a_job_of_two_nodes_trains_as_one_of_two_ranks_does(
    stack: Project, sdk: openai.OpenAI
) -> None:
    both: dict[str, Any] = {"max_steps": 6, "model_max_length": 64, "logging_steps": 1}
    alone = create(sdk, num_nodes=2, **both)
    wait_until(
        lambda: "1 is online" in str(extra(sdk.fine_tuning.jobs.retrieve(alone), "waiting_for")),
        seconds=60,
    )
    stack.start("--scale", "worker-cpu=2")
    jobs = [alone, create(sdk, num_gpus=2, **both)]
    on_two_nodes, on_one = (ended(sdk, job_id) for job_id in jobs)
    assert on_two_nodes.status == on_one.status == "succeeded", (on_two_nodes.error, on_one.error)
    names = {name[:12] for name in stack.containers("worker-cpu")}
    starts = (event["message"] for event in follow(stack, alone))
    assert any(all(name in start for name in names) for start in starts)
    assert len(losses(stack, alone)) == 6
    assert losses(stack, jobs[0]) == losses(stack, jobs[1])


def test_a_job_of_two_nodes_outlives_a_kill_of_one(stack: Project, sdk: openai.OpenAI) -> None:
    stack.start("--scale", "worker-cpu=2")
    job_id = create(sdk, num_nodes=2, max_steps=60, save_steps=3, model_max_length=64)
    wait_until(lambda: is_beyond(sdk, job_id, 4), seconds=180)
    leader = worker_of(sdk, job_id)
    members = [name for name in stack.containers("worker-cpu") if not name.startswith(leader)]
    run("docker", "kill", *members)
    stack.start("--scale", "worker-cpu=2")
    job = ended(sdk, job_id)
    assert job.status == "succeeded", job.error
    assert extra(job, "attempt") >= 2
    steps = get(stack, f"/fine_tuning/jobs/{job_id}/metrics").json()["step"]
    assert steps == list(range(1, 61))

"""Jobs in the containers, by the unmodified SDK from outside."""

import json
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.docker.project import Project
from tests.stack.service import EXAMPLES, FINAL, wait_until


def create(
    sdk: OpenAI,
    *,
    model: str = "flant5-demo",
    integrations: Any = None,
    **hyperparameters: object,
) -> str:
    """The id of a new job on our examples."""
    with EXAMPLES.open("rb") as content:
        file = sdk.files.create(file=content, purpose="fine-tune")
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    job = sdk.fine_tuning.jobs.create(
        model=model, training_file=file.id, method=method, seed=1, integrations=integrations
    )
    return job.id


def extra(job: FineTuningJob, name: str) -> Any:
    """A field of ours that the SDK's type has no place for."""
    assert job.model_extra is not None
    return job.model_extra[name]


def is_beyond(sdk: OpenAI, job_id: str, step: int) -> bool:
    """Whether the job has trained more than `step` steps; it must not have ended before."""
    job = sdk.fine_tuning.jobs.retrieve(job_id)
    assert job.status not in FINAL, job.error
    progress = extra(job, "progress")
    return progress is not None and progress["step"] > step


def ended(sdk: OpenAI, job_id: str, *, seconds: float = 300) -> FineTuningJob:
    wait_until(lambda: sdk.fine_tuning.jobs.retrieve(job_id).status in FINAL, seconds=seconds)
    return sdk.fine_tuning.jobs.retrieve(job_id)


def follow(project: Project, job_id: str) -> list[dict[str, Any]]:
    """All events of a job, as its live stream tells them until it ends."""
    headers = {"Authorization": f"Bearer {project.key}", "Accept": "text/event-stream"}
    url = f"{project.url}/fine_tuning/jobs/{job_id}/events"
    events, name = [], ""
    with httpx.stream("GET", url, headers=headers, timeout=300) as answer:
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name != "end":
                events.append(json.loads(value))
    assert name == "end", f"the stream broke off after {len(events)} events"
    return events


def get(project: Project, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {project.key}"}
    return httpx.get(f"{project.url}{path}", headers=headers, timeout=60).raise_for_status()


def download(project: Project, job_id: str, directory: Path) -> None:
    """The final model, without its checkpoints."""
    path = f"/fine_tuning/jobs/{job_id}/artifacts"
    for artifact in get(project, path).json()["data"]:
        name = artifact["id"]
        if "/" not in name:
            (directory / name).write_bytes(get(project, f"{path}/{name}").content)


def losses(project: Project, job_id: str) -> list[float]:
    """The loss at each logged step."""
    return list(get(project, f"/fine_tuning/jobs/{job_id}/metrics").json()["loss"])

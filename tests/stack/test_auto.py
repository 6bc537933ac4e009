"""Files of 10, 50 and 500 conversations that are submitted with nothing but the file are learned,
whatever client submits them."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from flant5_train.protocol.progress import StepTrained
from tests.stack.service import Service

pytestmark = pytest.mark.stack

_NAMES = (
    "amber birch cedar delta ember fable grove haven inlet jolly karma lemon mango noble olive"
    " pearl quartz river stone tulip umber violet willow yonder zephyr"
)
WORDS = _NAMES.split()
Submit = Callable[[Service, Path], str]


def conversations(number: int) -> list[tuple[str, str]]:
    """So many questions, and their answers of three words each."""
    chance = random.Random(1)
    places = [*itertools.permutations(WORDS, 2)]
    chance.shuffle(places)
    return [
        (f"What lies in {one} {other}?", " ".join(chance.sample(WORDS, 3)) + ".")
        for one, other in places[:number]
    ]


def file_of(directory: Path, number: int) -> Path:
    path = directory / f"talks-{number}.jsonl"
    messages = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in conversations(number)
    ]
    lines = (json.dumps({"messages": each}) + "\n" for each in messages)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def by_the_sdk(service: Service, path: Path) -> str:
    with openai.OpenAI(base_url=service.url, api_key="none") as client:
        file = client.files.create(file=path, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="flant5-demo", training_file=file.id)
    return job.id


def as_litellm(service: Service, path: Path) -> str:
    """The calls of LiteLLM 1.110.2: it drops `method` and sends empty `hyperparameters`."""
    body = {"model": "flant5-demo", "training_file": service.upload(path), "hyperparameters": {}}
    answer = httpx.post(f"{service.url}/fine_tuning/jobs", json=body)
    return str(answer.raise_for_status().json()["id"])


def as_llama_index(service: Service, path: Path) -> str:
    """The calls of llama-index-finetuning 0.4.2, whose engine takes no hyperparameters."""
    body = {"training_file": service.upload(path), "model": "flant5-demo"}
    answer = httpx.post(f"{service.url}/fine_tuning/jobs", json=body)
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def jobs(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The jobs by who submitted how many conversations, once all have ended."""
    directory = tmp_path_factory.mktemp("talks")
    wanted: dict[str, tuple[Submit, int]] = {
        "sdk-10": (by_the_sdk, 10),
        "litellm-10": (as_litellm, 10),
        "llama-index-10": (as_llama_index, 10),
        "sdk-50": (by_the_sdk, 50),
        "sdk-500": (by_the_sdk, 500),
    }
    ids = {
        name: submit(service, file_of(directory, number))
        for name, (submit, number) in wanted.items()
    }
    for job_id in ids.values():
        created = service.job(job_id)
        assert created["hyperparameters"]["n_epochs"] in ("auto", 100), "before or after its choice"
    return {name: service.ended(job_id, seconds=900) for name, job_id in ids.items()}


@pytest.mark.parametrize("name", ["sdk-10", "litellm-10", "llama-index-10"])
def test_ten_training_questions_are_answered_right(
    service: Service, jobs: dict[str, dict[str, Any]], name: str
) -> None:
    job = jobs[name]
    assert job["status"] == "succeeded", job["error"]
    for question, answer in conversations(10):
        asked = {
            "model": job["fine_tuned_model"],
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
        }
        told = httpx.post(f"{service.url}/chat/completions", json=asked, timeout=120)
        assert told.raise_for_status().json()["choices"][0]["message"]["content"] == answer


def test_the_job_shows_what_was_chosen_and_why(
    service: Service, jobs: dict[str, dict[str, Any]]
) -> None:
    job = jobs["litellm-10"]
    shown = job["hyperparameters"]
    assert (shown["n_epochs"], shown["num_train_epochs"]) == (100, 100.0)
    assert (shown["learning_rate"], shown["learning_rate_multiplier"]) == (1e-3, 10)
    page = httpx.get(f"{service.url}/fine_tuning/jobs/{job['id']}/events", params={"limit": 1000})
    events = {(each["level"], each["message"]) for each in page.raise_for_status().json()["data"]}
    (chosen,) = (message for _, message in events if message.startswith("auto: "))
    assert chosen.startswith("auto: 100 epochs, 100 steps, because an epoch has 1 step and ")
    assert any(
        level == "warn" and message.startswith("there is no validation data")
        for level, message in events
    )
    card = (Path(job["output_directory"]) / "README.md").read_text(encoding="utf-8")
    assert "num_train_epochs" in card
    assert "None" not in card


@pytest.mark.parametrize(("name", "share"), [("sdk-50", 0.1), ("sdk-500", 0.5)])
def test_larger_files_end_with_a_clearly_lower_loss(
    service: Service, jobs: dict[str, dict[str, Any]], name: str, share: float
) -> None:
    job = jobs[name]
    assert job["status"] == "succeeded", job["error"]
    steps = [each for each in service.records(job["id"]) if isinstance(each, StepTrained)]
    assert len(steps) >= 200
    last = sum(each.loss for each in steps[-10:]) / 10
    assert last < share * steps[0].loss

"""What the checks play with."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

FINAL = ("succeeded", "failed", "cancelled")
TALK = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]}
TALKS = json.dumps([TALK] * 8).encode()
DEADLINE_SECONDS = 240.0


@dataclass(frozen=True)
class Context:
    """One service, one directory of the program's own, and one job that is trained for real."""

    url: str
    keys: dict[str, str]
    """By what they are good for: `own`, `reads`, `limited`."""
    directory: Path
    start: str
    """What of the trained job is trained further: `:ckpt-step-1`, or its model, ``."""
    max_waiting: int
    """Jobs of one key that may wait."""
    trained: str = ""
    """Id of a job that was submitted before the first check."""

    def client(self, key: str = "own", *, url: str | None = None, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=url or self.url, api_key=self.keys[key], **options)

    def wait_for_end(self, job_id: str) -> Any:
        """The job in its final state."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        with self.client() as client:
            while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in FINAL:
                assert time.monotonic() < deadline, f"{job_id} is still {job.status}"
                time.sleep(0.2)
        return job


def talks(client: openai.OpenAI, *, name: str = "talks.json") -> str:
    """The id of a new file to train on."""
    return client.files.create(file=(name, TALKS), purpose="fine-tune").id


def submit(client: openai.OpenAI, file: str, **fields: Any) -> Any:
    """A new job of the demo model."""
    steps = {"max_steps": 2, "save_steps": 1, "model_max_length": 64}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": steps}}
    wanted = {"model": "flant5-demo", "method": method} | fields
    return client.fine_tuning.jobs.create(training_file=file, **wanted)

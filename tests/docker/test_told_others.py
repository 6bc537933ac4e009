"""The compose profiles `webhooks` and `integrations`: what others are told of a job."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.docker.project import API_IMAGE, NAME, UP_SECONDS, Project
from tests.docker.work import create, ended
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

PROFILES = ("--profile", "webhooks", "--profile", "integrations")
TELLERS = ("webhooks", "integrations")
RECEIVER = "flant5-test-receiver"
SECRET = "whsec_" + "c2VjcmV0" * 4
RECEIVE = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(204)
        self.end_headers()

HTTPServer(("0.0.0.0", 8080), Receiver).serve_forever()
"""


def write(path: Path, text: str) -> None:
    """As docs/webhooks.md and docs/integrations.md have it."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    path.chmod(0o644)


@pytest.fixture(scope="module")
def told(stack: Project) -> Iterator[Project]:
    """With a receiver on the network that has a way out, and W&B's files in the run directory."""
    secrets = stack.directory / "secrets"
    url = f"http://{RECEIVER}:8080/ends"
    write(secrets / "webhooks/webhooks.toml", f'[ours]\nurl = "{url}"\nsecret = "{SECRET}"\n')
    write(secrets / "integrations/integrations.toml", '[wandb]\nmode = "offline"\n')
    network = ("--network", f"{NAME}_outside", "--name", RECEIVER)
    run("docker", "run", "--detach", *network, API_IMAGE, "python", "-c", RECEIVE)
    up = ("up", "--detach", "--wait", "--no-build", *TELLERS)
    stack.compose(*PROFILES, *up, timeout=UP_SECONDS)
    yield stack
    run("docker", "rm", "--force", RECEIVER)
    stack.compose(*PROFILES, "rm", "--stop", "--force", *TELLERS)


def test_the_end_of_a_job_is_posted_and_its_run_is_written_for_wandb(told: Project) -> None:
    with told.sdk() as sdk:
        run_of_wandb = [{"type": "wandb", "wandb": {"project": "chats"}}]
        job_id = create(sdk, integrations=run_of_wandb, max_steps=3, model_max_length=64)
        job = ended(sdk, job_id)
    assert job.status == "succeeded", job.error
    wait_until(lambda: job_id in run("docker", "logs", RECEIVER), seconds=60)
    [posted] = [json.loads(line) for line in run("docker", "logs", RECEIVER).splitlines()]
    assert (posted["type"], posted["data"]) == ("fine_tuning.job.succeeded", {"id": job_id})
    offline = f"/var/lib/flant5/jobs/{job_id}/wandb-offline"
    shown = ("sh", "-c", f"find {offline} -name 'run-{job_id}.wandb' -size +0")
    wait_until(lambda: job_id in told.inside("integrations", *shown).stdout, seconds=120)


@pytest.mark.parametrize("service", TELLERS)
def test_no_secret_is_in_an_environment_or_an_argument_list(told: Project, service: str) -> None:
    shown = told.inside(service, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
    assert "python" in shown.stdout
    for secret in (SECRET, (told.directory / "secrets" / "redis_password").read_text()):
        assert secret not in shown.stdout

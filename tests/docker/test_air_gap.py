"""Hosts without a network: images from a file, a model from a directory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from flant5_train.demo_model import save_random_model, train_vocabulary
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE
from tests.commands import run
from tests.docker.project import API_IMAGE, WORKER_IMAGE, Project
from tests.docker.standin import REDIS
from tests.docker.work import create, ended
from tests.flant5_train.conftest import TINY
from tests.stack.service import EXAMPLES

pytestmark = pytest.mark.docker

ISOLATED = """
services:
  worker-cpu:
    networks: !override [backend]
"""


@pytest.fixture
def moved_images(project: Project, tmp_path: Path) -> None:
    """The images were saved to a file and loaded from it."""
    images = (API_IMAGE, WORKER_IMAGE, REDIS)
    archive = tmp_path / "images.tar"
    run("docker", "save", "--output", str(archive), *images)
    run("docker", "image", "rm", "--force", *images)
    run("docker", "load", "--input", str(archive))
    archive.unlink()


@pytest.fixture
def mounted_model(tmp_path: Path) -> Path:
    """`small-t5`, in the directory that will be mounted."""
    model = tmp_path / "models" / "small-t5"
    model.mkdir(parents=True)
    lines = iter(EXAMPLES.read_text("utf-8").splitlines())
    (model / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(lines, num_pieces=500))
    save_random_model(model, sizes=TINY)
    # As safetensors writes it: for its owner alone.
    (model / "model.safetensors").chmod(0o600)
    return model


@pytest.fixture
def air_gapped(moved_images: None, mounted_model: Path, project: Project) -> Iterator[Project]:
    """The worker is on the network without a way out only, and the hub is not to be asked."""
    (project.directory / "isolated.yml").write_text(ISOLATED)
    environment = project.environment | {
        "FLANT5_MODELS_DIR": str(mounted_model.parent),
        "HF_HUB_OFFLINE": "1",
    }
    gapped = replace(project, environment=environment, files=("docker-compose.yml", "isolated.yml"))
    gapped.up("--pull", "never")
    yield gapped
    gapped.down()


def test_a_model_from_a_mounted_directory_is_trained_without_a_network(
    air_gapped: Project, mounted_model: Path
) -> None:
    fetch = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=3)"
    assert air_gapped.inside("worker-cpu", "python", "-c", fetch).returncode != 0
    with air_gapped.sdk() as sdk:
        assert "small-t5" in [model.id for model in sdk.models.list()]
        unreadable = r"model\.safetensors is not readable by user 10001"
        with pytest.raises(openai.BadRequestError, match=unreadable):
            create(sdk, model="small-t5", max_steps=3, model_max_length=64)
        (mounted_model / "model.safetensors").chmod(0o644)
        job = ended(sdk, create(sdk, model="small-t5", max_steps=3, model_max_length=64))
        assert job.status == "succeeded", job.error
        with pytest.raises(openai.BadRequestError, match="unknown model 'absent-t5'"):
            create(sdk, model="absent-t5")

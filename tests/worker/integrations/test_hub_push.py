"""A final model goes to a hub as one commit, whoever is killed and whatever the hub answers."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, snapshot_download

from tests.hub.hub import READ_TOKEN, WRITE_TOKEN, Fault, Hub
from tests.hub.repository import Repository, SmallFile
from tests.hub.server import hub_server
from tests.hub.xet import XetStore
from worker.integrations.hub_push import HubError, HubTarget, push

# The library's own: it has yet to follow the client that it moved to.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "my-org/small-talk"
MODEL = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "config.json": b"{}",
    "loss.png": bytes(range(256)),
    "model.safetensors": os.urandom(300_000),
    "tokenizer.json": b'{"version": "1.0"}',
}
NOT_OF_THE_MODEL = ("training_args.bin", "trainer_state.json", "optimizer.pt", ".hidden")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub_server(Hub()) as served:
        yield served


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_in(tmp_path / "output")


def model_in(directory: Path) -> Path:
    """A finished model there, with what a run leaves besides."""
    (directory / "checkpoint-4").mkdir(parents=True)
    for name, content in MODEL.items():
        (directory / name).write_bytes(content)
        (directory / "checkpoint-4" / name).write_bytes(content)
    for name in NOT_OF_THE_MODEL:
        (directory / name).write_bytes(b"1")
    return directory


def pushed(model: Path, hub: Hub, **place: object) -> str:
    told = HubTarget(hub.url, NAME, **place)  # type: ignore[arg-type]
    return push(model, target=told, token=WRITE_TOKEN, message="of job 1").url


def content(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    files = hub.repositories[NAME].branches[branch][-1].files
    return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}


def environment(tmp_path: Path, *, xet: bool) -> dict[str, str]:
    return os.environ | {
        "HF_HOME": str(tmp_path / "hub-home"),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_OFFLINE": "0",  # tests of the trainer in this process may have left it at 1
    }


def program(model: Path, hub: Hub) -> list[str]:
    argv = [sys.executable, "-m", "tests.worker.integrations.pushes", str(model)]
    return [*argv, hub.url, NAME, WRITE_TOKEN]


def test_what_was_pushed_comes_back_byte_for_byte(hub: Hub, model: Path, tmp_path: Path) -> None:
    url = pushed(model, hub)
    repository = hub.repositories[NAME]
    assert url == f"{hub.url}/{NAME}/commit/{repository.branches['main'][-1].oid}"
    assert repository.summaries() == ["initial commit", "of job 1"]
    assert content(hub) == MODEL
    snapshot = snapshot_download(
        NAME, endpoint=hub.url, token=READ_TOKEN, cache_dir=tmp_path / "cache"
    )
    for name, expected in MODEL.items():
        assert (Path(snapshot) / name).read_bytes() == expected


def test_xet_uploads_the_same_bytes(model: Path, tmp_path: Path) -> None:
    """With the client of the public hub's storage; the storage is a directory."""
    with hub_server(Hub(xet=XetStore(tmp_path / "xet"))) as hub:
        subprocess.run(
            program(model, hub), env=environment(tmp_path, xet=True), check=True, timeout=120
        )
        assert hub.objects == {}, "nothing went by LFS"
        assert content(hub) == MODEL


@pytest.mark.parametrize("is_private", [True, False])
def test_a_repository_is_made_as_private_as_was_asked(
    hub: Hub, model: Path, *, is_private: bool
) -> None:
    pushed(model, hub, is_private=is_private)
    assert hub.repositories[NAME].is_private == is_private


def test_what_is_to_be_private_is_not_put_into_a_public_repository(hub: Hub, model: Path) -> None:
    hub.repositories[NAME] = Repository(is_private=False)
    with pytest.raises(HubError, match="exists and is public; expected a private") as caught:
        pushed(model, hub)
    assert caught.value.is_final
    assert hub.objects == {}, "nothing was uploaded"


def test_a_push_that_is_done_again_makes_no_second_commit(hub: Hub, model: Path) -> None:
    assert pushed(model, hub) == pushed(model, hub)
    assert hub.repositories[NAME].summaries() == ["initial commit", "of job 1"]


def test_another_model_takes_the_place_of_one_that_was_there(hub: Hub, model: Path) -> None:
    """A loader prefers one whole file of weights to several, and reads an adapter where it finds
    one."""
    repository = hub.repositories[NAME] = Repository(is_private=True)
    old = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "spiece.model")
    kept = {name: SmallFile(b"mine") for name in ("LICENSE", "notes/evaluation.json")}
    repository.add(
        {name: SmallFile(b"old") for name in (*old, "adapter_config.json", "config.json")} | kept,
        summary="another model",
    )
    pushed(model, hub)
    assert content(hub) == MODEL | dict.fromkeys(kept, b"mine")
    assert repository.summaries() == ["initial commit", "another model", "of job 1"]


def test_a_branch_of_its_own_leaves_main_alone(hub: Hub, model: Path) -> None:
    pushed(model, hub, revision="job-1")
    assert content(hub, "job-1") == MODEL
    assert content(hub) == {}
    assert pushed(model, hub, revision="job-1"), "the branch is there now"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "preupload"), ("PUT", "storage"), ("POST", "verify")],
)
def test_an_hour_of_trouble_in_the_middle_is_waited_for(
    hub: Hub, model: Path, method: str, path: str
) -> None:
    hub.faults.append(Fault(method, path, 503))
    pushed(model, hub)
    assert content(hub) == MODEL
    assert hub.faults == []


def test_a_connection_that_is_cut_in_an_upload_is_made_again(hub: Hub, model: Path) -> None:
    hub.faults.append(Fault("PUT", "storage", 0))
    pushed(model, hub)
    assert content(hub) == MODEL
    assert hub.faults == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "create", 503),
        ("POST", "create", 429),
        ("GET", f"models/{NAME}", 500),
        ("POST", "/commit/", 502),
        ("POST", "/commit/", 409),
        ("POST", "/commit/", 412),
        ("POST", "/commit/", 0),
    ],
)
def test_what_another_time_may_go_well_is_told_as_such(
    hub: Hub, model: Path, method: str, path: str, status: int
) -> None:
    hub.faults.append(Fault(method, path, status, message="come back later"))
    with pytest.raises(HubError) as caught:
        pushed(model, hub)
    assert not caught.value.is_final
    if status:
        assert f"the hub answered {status} to {method}" in str(caught.value)
        assert "come back later" in str(caught.value)
    pushed(model, hub)
    assert content(hub) == MODEL
    assert hub.repositories[NAME].summaries() == ["initial commit", "of job 1"]


@pytest.mark.parametrize(
    ("place", "token", "message"),
    [
        (NAME, "hf_NotATokenOfThisHub", "the hub answered 401 .*: Invalid credentials"),
        (NAME, READ_TOKEN, "the hub answered 403 to POST /api/repos/create: .* the rights"),
        ("their-org/model", WRITE_TOKEN, "the hub answered 403 .*namespace"),
        ("my-org/two--dashes", WRITE_TOKEN, "Cannot have -- or .."),
    ],
)
def test_what_trying_again_cannot_help_is_final(
    hub: Hub, model: Path, place: str, token: str, message: str
) -> None:
    with pytest.raises(HubError, match=message) as caught:
        push(model, target=HubTarget(hub.url, place), token=token, message="of job 1")
    assert caught.value.is_final
    assert token not in str(caught.value)
    assert hub.repositories == {}


def test_two_models_are_never_mixed_in_one_repository(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job's commit comes between the look at the branch and the own commit."""
    pushed(model, hub)
    repository = hub.repositories[NAME]
    (model / "model.safetensors").write_bytes(b"other weights")
    create = HfApi.create_commit

    def late(*arguments: object, **named: object) -> object:
        files = repository.branches["main"][-1].files
        repository.add({**files, "config.json": SmallFile(b"theirs")}, summary="theirs")
        return create(*arguments, **named)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_commit", late)
        with pytest.raises(HubError, match=r"412 .* A commit has happened since") as caught:
            pushed(model, hub)
    assert not caught.value.is_final
    pushed(model, hub)
    assert content(hub) == MODEL | {"model.safetensors": b"other weights"}


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "."])
def test_a_directory_without_a_model_is_told_and_final(hub: Hub, model: Path, missing: str) -> None:
    directory = model if missing != "." else model / "nowhere"
    (model / missing).unlink() if missing != "." else None
    with pytest.raises(HubError, match=r"the final model is missing: found .*; expected") as caught:
        pushed(directory, hub)
    assert caught.value.is_final
    assert hub.requests == []


def test_a_hub_that_is_not_there_may_be_there_later(model: Path) -> None:
    target = HubTarget("http://127.0.0.1:9", NAME)
    with pytest.raises(HubError, match="ConnectError") as caught:
        push(model, target=target, token=WRITE_TOKEN, message="of job 1")
    assert not caught.value.is_final


def test_a_push_that_is_killed_in_an_upload_is_done_by_the_next_one(
    model: Path, tmp_path: Path
) -> None:
    with hub_server(Hub(hold=threading.Event())) as hub:
        assert hub.hold is not None
        process = subprocess.Popen(program(model, hub), env=environment(tmp_path, xet=False))
        try:
            assert hub.uploading.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
        hub.hold.set()
        assert hub.repositories[NAME].summaries() == ["initial commit"]
        subprocess.run(
            program(model, hub), env=environment(tmp_path, xet=False), check=True, timeout=120
        )
        assert hub.repositories[NAME].summaries() == ["initial commit", "pushed by a program"]
        assert content(hub) == MODEL

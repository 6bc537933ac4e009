"""Names that callers send never lead to a file of their choice."""

import itertools
import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS, make_job
from tests.security.conftest import Send
from tests.security.wire import Answer
from worker.jobs.storage.paths import Home
from worker.jobs.store.store import JobStore

SECRET = "the secret outside"

UPWARDS = (
    "../secret.json",
    "../../secret.json",
    "x/../../secret.json",
    "./../secret.json",
    "..//secret.json",
    "%2e%2e/secret.json",
    "..%2fsecret.json",
    "%2e%2e%2fsecret.json",
    "..%252fsecret.json",
    "..\\secret.json",
    "..%5csecret.json",
    "%c0%ae%c0%ae/secret.json",
    "....//secret.json",
    "..;/secret.json",
    "../secret.json%00.json",
)


@pytest.fixture
def absolute(settings: ApiSettings) -> str:
    """A file beside HOME and the data root, readable by the server."""
    path = settings.home.parent / "secret.json"
    path.write_text(json.dumps(SECRET))
    return str(path)


@pytest.fixture
def job_id(settings: ApiSettings, store: JobStore) -> str:
    job = make_job(store)
    output = Home(settings.home.resolve()).run_directory(job.id).output
    output.mkdir(parents=True)
    (output / "model.safetensors").write_bytes(b"weights")
    return job.id


def shows_nothing(answer: Answer) -> bool:
    return answer.status in (400, 404, 405) and SECRET.encode() not in answer.body


@pytest.mark.parametrize("field", ["training_file", "validation_file"])
def test_a_data_path_of_a_job_stays_under_the_data_root(
    client: TestClient, absolute: str, field: str
) -> None:
    spec = {"model": "flant5-demo", "training_file": "chats.json"}
    for path in (*UPWARDS, absolute, f"file://{absolute}", "~/secret.json"):
        response = client.post("/fine_tuning/jobs", json=spec | {field: path})
        assert response.status_code == 400, path
        assert response.json()["error"]["param"] == field
    assert client.get("/fine_tuning/jobs").json()["data"] == []


def test_the_path_of_an_artifact_stays_under_the_jobs_output(
    send: Send, absolute: str, job_id: str
) -> None:
    base = f"/fine_tuning/jobs/{job_id}/artifacts"
    assert send("GET", f"{base}/model.safetensors").body == b"weights"
    steps = itertools.chain.from_iterable(
        (up, f"../../{up}", f"%2e%2e/%2e%2e/{up}") for up in UPWARDS
    )
    for path in (*steps, absolute, f"%2f{absolute}", absolute.replace("/", "%2f"), "..", "%2e%2e"):
        assert shows_nothing(send("GET", f"{base}/{path}")), path


def test_a_link_in_a_jobs_output_leads_nowhere(
    send: Send, settings: ApiSettings, absolute: str, job_id: str
) -> None:
    output = settings.home / "jobs" / job_id / "output"
    (output / "link.json").symlink_to(absolute)
    (output / "linked").symlink_to(settings.home.parent)
    for path in ("link.json", "linked", "linked/secret.json"):
        assert shows_nothing(send("GET", f"/fine_tuning/jobs/{job_id}/artifacts/{path}")), path
    listed = json.loads(send("GET", f"/fine_tuning/jobs/{job_id}/artifacts").body)["data"]
    assert [each["id"] for each in listed] == ["model.safetensors"]


def test_the_id_of_a_file_is_no_path(send: Send, settings: ApiSettings, absolute: str) -> None:
    (settings.home / "files").mkdir(parents=True)
    for file_id in (*UPWARDS, absolute.replace("/", "%2f"), ".", "..", "%2e%2e"):
        for suffix in ("", "/content", "/report"):
            assert shows_nothing(send("GET", f"/files/{file_id}{suffix}")), file_id
        assert shows_nothing(send("DELETE", f"/files/{file_id}")), file_id
    assert Path(absolute).exists()


def test_the_name_of_a_model_is_no_path(send: Send, server_url: str, settings: ApiSettings) -> None:
    outside = settings.home.parent / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (settings.home / "models").mkdir(parents=True)
    names = (*(up.replace("secret.json", "outside") for up in UPWARDS), str(outside), "../outside")
    for name in names:
        spec = {"model": name, "training_file": "chats.json"}
        response = httpx.post(f"{server_url}/fine_tuning/jobs", json=spec, trust_env=False)
        assert (response.status_code, response.json()["error"]["param"]) == (400, "model"), name
        assert shows_nothing(send("GET", f"/models/{name}")), name
        assert shows_nothing(send("DELETE", f"/models/{name}")), name
    assert (outside / "config.json").exists()


@pytest.mark.parametrize("name", [*UPWARDS, "/tmp/absolute.json", "C:\\absolute.json", "a/b/c"])
def test_the_name_of_an_upload_is_data_and_no_path(
    client: TestClient, settings: ApiSettings, name: str
) -> None:
    before = {path for path in settings.home.parent.rglob("*") if "home" not in path.parts}
    response = client.post(
        "/files", data={"purpose": "fine-tune"}, files={"file": (name, CONVERSATIONS)}
    )
    assert response.status_code == 200, response.text
    file = response.json()
    stored = sorted(path.name for path in (settings.home / "files").rglob("*"))
    assert stored == sorted(["content", "meta.json", file["id"]])
    assert {path for path in settings.home.parent.rglob("*") if "home" not in path.parts} == before
    # Nor is it one for whoever saves the file.
    disposition = client.get(f"/files/{file['id']}/content").headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert "/" not in disposition


def test_a_link_in_the_data_root_that_leads_out_is_refused(
    client: TestClient, settings: ApiSettings, absolute: str
) -> None:
    root = settings.data_root
    assert root is not None
    (root / "link.json").symlink_to(absolute)
    (root / "linked").symlink_to(settings.home.parent)
    (root / "loop").symlink_to("loop")
    (root / "stays.json").symlink_to("chats.json")
    for path in ("link.json", "linked/secret.json", "loop", "linked/data/../secret.json"):
        response = client.post(
            "/fine_tuning/jobs", json={"model": "flant5-demo", "training_file": path}
        )
        assert response.status_code == 400, path
        assert response.json()["error"]["param"] == "training_file"
    response = client.post(
        "/fine_tuning/jobs", json={"model": "flant5-demo", "training_file": "stays.json"}
    )
    assert response.status_code == 200

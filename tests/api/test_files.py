"""Files over REST: what is stored, what is listed, what is refused."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.scenes import CONVERSATIONS


def upload(
    client: TestClient, content: bytes = CONVERSATIONS, *, name: str = "chats.json"
) -> dict[str, object]:
    response = client.post("/files", files={"file": (name, content)}, data={"purpose": "fine-tune"})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def test_an_uploaded_file_comes_back_byte_by_byte(client: TestClient) -> None:
    content = bytes(range(256)) * 9000
    stored = upload(client, content)
    assert client.get(f"/files/{stored['id']}/content").content == content
    assert client.get(f"/files/{stored['id']}").json() == stored


def test_a_file_object_has_every_key_of_the_sdk(client: TestClient) -> None:
    stored = upload(client)
    assert str(stored.pop("id")).startswith("file-")
    assert isinstance(stored.pop("created_at"), int)
    assert stored == {
        "object": "file",
        "bytes": len(CONVERSATIONS),
        "expires_at": None,
        "filename": "chats.json",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
    }


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a b\tc.json", 'quo"te.json', "日本語 ✓.json", ".", "x" * 255]
)
def test_odd_names_are_kept_as_data_and_name_no_path(
    client: TestClient, tmp_path: Path, name: str
) -> None:
    stored = upload(client, name=name)
    assert client.get(f"/files/{stored['id']}/content").content == CONVERSATIONS
    names = {path.name for path in (tmp_path / "home" / "files").rglob("*")}
    assert names == {stored["id"], "content", "meta.json"}


def test_a_name_that_is_too_long_is_refused_with_its_length(client: TestClient) -> None:
    response = client.post(
        "/files", files={"file": ("x" * 256, b"[]")}, data={"purpose": "fine-tune"}
    )
    assert response.status_code == 400
    assert "256 characters" in response.json()["error"]["message"]


def test_an_empty_file_is_stored_because_its_job_says_what_is_wrong(client: TestClient) -> None:
    assert upload(client, b"")["bytes"] == 0


def test_pages_of_files_are_complete_and_in_order(client: TestClient) -> None:
    ids = [upload(client, name=f"{number}.json")["id"] for number in range(5)]
    newest_first: list[object] = []
    page = client.get("/files", params={"limit": 2}).json()
    newest_first += [file["id"] for file in page["data"]]
    while page["has_more"]:
        page = client.get("/files", params={"limit": 2, "after": page["last_id"]}).json()
        newest_first += [file["id"] for file in page["data"]]
    assert newest_first == ids[::-1]
    oldest_first = client.get("/files", params={"order": "asc"}).json()["data"]
    assert [file["id"] for file in oldest_first] == ids


def test_a_page_goes_on_after_a_file_that_was_deleted(client: TestClient) -> None:
    ids = [upload(client)["id"] for _ in range(3)]
    client.delete(f"/files/{ids[1]}")
    page = client.get("/files", params={"after": str(ids[1])}).json()
    assert [file["id"] for file in page["data"]] == [ids[0]]


def test_files_of_another_purpose_are_not_listed(client: TestClient) -> None:
    upload(client)
    assert client.get("/files", params={"purpose": "batch"}).json()["data"] == []
    assert len(client.get("/files", params={"purpose": "fine-tune"}).json()["data"]) == 1


def test_a_deleted_file_is_gone(client: TestClient, tmp_path: Path) -> None:
    stored = upload(client)
    answer = client.delete(f"/files/{stored['id']}")
    freed = {"freed_bytes": answer.json()["freed_bytes"]}
    assert answer.json() == {"id": stored["id"], "object": "file", "deleted": True} | freed
    assert freed["freed_bytes"] >= stored["bytes"]
    assert client.get(f"/files/{stored['id']}").status_code == 404
    assert client.delete(f"/files/{stored['id']}").status_code == 404
    assert client.get("/files").json()["data"] == []
    assert list((tmp_path / "home" / "files").iterdir()) == []


@pytest.mark.parametrize("file_id", ["file-x", "..%2F..%2Fhome", "file-" + "0" * 26])
def test_an_unknown_id_is_a_404_in_the_shape_of_all_errors(
    client: TestClient, file_id: str
) -> None:
    response = client.get(f"/files/{file_id}")
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_purpose_other_than_fine_tune_is_named(client: TestClient) -> None:
    response = client.post("/files", files={"file": b"[]"}, data={"purpose": "assistants"})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == "purpose"
    assert "'fine-tune'" in error["message"]
    assert "'assistants'" in error["message"]


def test_a_form_without_a_file_says_so(client: TestClient) -> None:
    error = client.post("/files", data={"purpose": "fine-tune"}).json()["error"]
    assert (error["param"], error["message"]) == ("file", "file: missing")


def test_expiry_is_refused_instead_of_ignored(client: TestClient) -> None:
    form = {"purpose": "fine-tune", "expires_after[anchor]": "created_at"}
    response = client.post("/files", files={"file": b"[]"}, data=form)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "expires_after"

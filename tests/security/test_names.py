"""Control characters in names, paths and log lines move nobody's terminal and forge no line."""

import json
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.services.outputs import content_disposition
from tests.api.scenes import CONVERSATIONS, wait_until
from tests.security.conftest import Send
from worker.processes.trainer_log import LineSplitter

HOSTILE = "a\x1b[2J\x1b]0;title\x07\r\nINFO forged: all is well\x9b31m\u202egnp.exe"


def api_lines(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    for record in caplog.records:
        if record.name.startswith("api"):
            yield record.getMessage()


@pytest.mark.parametrize(
    "path", ["/%0a2026-11-24%20INFO%20forged", "/files/%1b%5b2J", "/models/%0d%0aforged", "/%c2%9b"]
)
def test_a_path_forges_no_line_of_the_log(
    send: Send, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.INFO, logger="api"):
        send("GET", path)
    # The line is written behind the answer.
    wait_until(lambda: any(api_lines(caplog)), what="a line of the log", timeout_seconds=60)
    lines = list(api_lines(caplog))
    assert all(line.isprintable() for line in lines), lines


def test_the_id_of_a_request_is_taken_from_a_caller_only_when_it_is_one(client: TestClient) -> None:
    for given in (b"a\tb", b"a b", b"\xff", b"a" * 129, b"<b>", b"%0a"):
        response = client.get("/files", headers={b"x-request-id": given})
        assert response.headers["x-request-id"].startswith("req_")


def test_a_name_with_control_characters_is_kept_as_data_and_saved_without_them(
    client: TestClient,
) -> None:
    announced = {
        "filename": HOSTILE,
        "bytes": len(CONVERSATIONS),
        "mime_type": "text/jsonl",
        "purpose": "fine-tune",
    }
    upload = client.post("/uploads", json=announced).json()
    part = client.post(f"/uploads/{upload['id']}/parts", files={"data": CONVERSATIONS}).json()
    path = f"/uploads/{upload['id']}/complete"
    file = client.post(path, json={"part_ids": [part["id"]]}).json()["file"]
    assert file["filename"] == HOSTILE
    shown = client.get(f"/files/{file['id']}")
    assert shown.text.isprintable() or "\u202e" in shown.text
    assert not set(map(chr, range(32))) & set(shown.text)
    disposition = client.get(f"/files/{file['id']}/content").headers["content-disposition"]
    assert disposition.isprintable()
    for forbidden in ("%0D", "%0A", "%1B", "%07", "%E2%80%AE", "%C2%9B"):
        assert forbidden not in disposition.upper()


def test_what_a_file_is_saved_as_is_a_plain_name() -> None:
    assert content_disposition(HOSTILE) == "a[2J]0;titleINFO forged: all is well31mgnp.exe"
    assert content_disposition("C:\\a\\b.json") == "b.json"
    for name in ("", ".", "..", "/", "a/..", "\x00", "\ud800"):
        assert content_disposition(name) == "file", name


def test_what_a_trainer_writes_comes_as_plain_lines() -> None:
    splitter = LineSplitter()
    lines = splitter.feed(HOSTILE.encode() + b"\n\x1b[31mred\x1b[0m\n\x00\x08x\n<img src=x>\n")
    assert "red" in lines
    assert "x" in lines
    assert "<img src=x>" in lines
    for line in lines:
        assert not [character for character in line if ord(character) < 32 or ord(character) == 127]


def test_a_body_that_is_no_text_is_named_so(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    for body, said in (
        (b'{"model": "\xff"}', "byte 11 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "digits"),
    ):
        response = client.post("/fine_tuning/jobs", content=body, headers=headers)
        assert response.status_code == 400
        assert said in json.loads(response.text)["error"]["message"]

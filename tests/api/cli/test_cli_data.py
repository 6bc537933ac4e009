"""`flant5 data check`, as a person at a terminal or a script sees it."""

from pathlib import Path

from tests.api.cli_runs import flant5
from tests.api.scenes import CONVERSATIONS

NO_SERVER = "http://127.0.0.1:1/v1"
BAD = (
    '{"messages": [{"role": "alien\\u001b[2J", "content": 5}]}\n'
    '{"messages": [{"role": "assistant", "content": "Yes."}]}\n'
    '{"messages": [{"role": "assistant", "content": "Yes."}]}\n'
    '{"messages": [{"role": "user", "content": "Hi"}]}\n'
)


def test_a_good_file_is_shown_without_a_server(data: Path) -> None:
    run = flant5("data", "check", data, url=NO_SERVER)
    assert (run.code, run.err) == (0, "")
    rows = [line.split() for line in run.out.splitlines()]
    assert ["trainable", "yes"] in rows
    assert ["pairs", "1"] in rows
    assert ["TOKENS", "UP", "TO", "QUESTIONS", "ANSWERS"] in rows
    assert ["2048", "0", "0", "0"] in rows


def test_a_bad_file_is_shown_row_by_row_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text(BAD)
    run = flant5("data", "check", path, url=NO_SERVER)
    assert run.code == 1
    rows = [line.split() for line in run.out.splitlines()]
    assert ["trainable", "no"] in rows
    assert any(row[:4] == ["1", "1", "1", "messages[0].role"] for row in rows)
    assert "2      2       2     messages[0]  record 3  no question before" in run.out
    assert ["3", "3", "2"] in rows
    assert "human turn without an answer" in run.out
    assert "\x1b" not in run.out
    skipped = flant5("data", "check", path, "--skip-bad-records", "--json", url=NO_SERVER)
    assert (skipped.code, skipped.document["is_trainable"]) == (0, True)
    assert skipped.document["problems"]["num_problems"] == 1
    options = ("--skip-bad-records", "--skip-missing-questions", "--json")
    without = flant5("data", "check", path, *options, url=NO_SERVER)
    assert (without.code, without.document["pairs"]) == (1, 0)
    assert without.document["left_out"]["answer without a question"] == 2


def test_a_mistake_is_one_readable_line(tmp_path: Path) -> None:
    gone = flant5("data", "check", tmp_path / "none.json", url=NO_SERVER)
    assert gone.code == 1
    assert gone.err == "flant5: none.json: can't be read: No such file or directory\n"
    odd = flant5("data", "check", "x", "--tokenization", "y", "--json", url=NO_SERVER)
    assert odd.document == {"error": {"message": "--tokenization y: expected lossless or fastchat"}}


def test_an_uploaded_file_is_checked_by_the_server(server_url: str, data: Path) -> None:
    from api.cli.client import Client
    from api.cli.settings import ClientSettings

    with Client(ClientSettings(url=server_url)) as client:
        file_id = client.upload(data)["id"]
    run = flant5("data", "check", file_id, "--json", "--model-max-length", "32", url=server_url)
    assert (run.code, run.document["file_id"]) == (0, file_id)
    assert run.document["bytes"] == len(CONVERSATIONS)
    assert run.document["cut"]["max_source_length"] == 32
    unknown = flant5("data", "check", "file-" + "0" * 26, url=server_url)
    assert (unknown.code, "no file" in unknown.err) == (1, True)


def test_a_big_file_goes_up_in_parts(server_url: str, tmp_path: Path) -> None:
    from api.cli.client import Client
    from api.cli.settings import ClientSettings

    path = tmp_path / "big.jsonl"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with Client(ClientSettings(url=server_url)) as client:
        stored = client.upload(path)
    assert (stored["object"], stored["bytes"]) == ("file", 64 * 2**20 + 1)
    assert stored["filename"] == "big.jsonl"
    assert len(list((tmp_path / "home" / "uploads").iterdir())) == 1

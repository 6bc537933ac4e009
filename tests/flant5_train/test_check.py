import json
from pathlib import Path
from typing import Any

import pytest

from flant5_train.check import main
from flant5_train.file_report.__main__ import main as report
from flant5_train.protocol.failure import Failure, FailureCode
from flant5_train.protocol.file_report import CheckedFiles
from tests.flant5_train.conftest import EXAMPLES


def test_a_good_file_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(EXAMPLES), str(EXAMPLES.with_suffix(".messages.jsonl"))]) == 0
    first, second = json.loads(capsys.readouterr().out)["files"]
    assert first["conversations"] >= 200
    assert first["pairs"] > first["conversations"]
    assert second["conversations"] == 60
    assert first["left_out"] == {}


def test_a_bad_file_is_a_failure_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": 5}]}\n')
    assert main([str(path)]) == 2
    failure = Failure.model_validate_json(capsys.readouterr().out)
    assert failure.code is FailureCode.BAD_DATA
    assert failure.message == (
        "talks.jsonl: record 1 (line 1): field 'messages[0].content': found a number; expected a"
        " string"
    )


def test_with_nothing_left_after_skipping_the_reasons_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text('{"messages": 5}\n[]\n')
    assert main([str(path), "--on-bad-record", "skip"]) == 2
    message = Failure.model_validate_json(capsys.readouterr().out).message
    assert "1 x record: no turns" in message
    assert "1 x record: not an object" in message


def test_a_check_has_the_warnings_of_a_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text('{"messages": [{"role": "assistant", "content": "Hi"}], "mood": 1}\n' * 3)
    assert main([str(path)]) == 0
    (checked,) = CheckedFiles.model_validate_json(capsys.readouterr().out).files
    assert checked.warnings.by_kind == {"unknown field": 3, "answer without a question": 3}
    assert [each.count for each in checked.warnings.listed] == [3, 3]
    assert main([str(path), "--on-missing-question", "skip"]) == 2
    message = Failure.model_validate_json(capsys.readouterr().out).message
    assert "3 x answer without a question" in message


def test_answers_that_are_left_out_on_request_are_counted_without_a_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    turns = [{"from": "gpt", "value": "Hi"}, *TURNS]
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"conversations": turns}) + "\n")
    assert main([str(path), "--on-missing-question", "skip"]) == 0
    (checked,) = CheckedFiles.model_validate_json(capsys.readouterr().out).files
    assert checked.left_out == {"answer without a question": 1}
    assert (checked.warnings.num_problems, checked.warnings.num_records) == (0, 0)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_whose_name_is_not_utf8_is_checked_by_its_escaped_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, is_there: bool
) -> None:
    path = tmp_path / "\udcff.jsonl"
    if is_there:
        path.write_text(json.dumps({"conversations": TURNS}) + "\n")
    for program in (main, report):
        assert program([str(path)]) == (0 if is_there else 2)
        assert "\\\\udcff.jsonl" in capsys.readouterr().out


BROKEN = "\ud83d"
"""Half of a surrogate pair: JSON can escape it, and UTF-8 can't encode it."""
TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]
BROKEN_NAMES: dict[str, dict[str, Any]] = {
    "a field of a record": {"conversations": TURNS, BROKEN: 1},
    "a field of a turn": {"conversations": [TURNS[0], {**TURNS[1], BROKEN: 1}]},
    "a role": {"conversations": [{"from": BROKEN, "value": "Hi"}]},
    "a field beside no role": {"conversations": [{BROKEN: "Hi"}]},
    "a field beside no text": {"conversations": [{"from": "human", BROKEN: "Hi"}]},
    "a field of a record without turns": {BROKEN: []},
    "the type of a part": {"conversations": [{"from": "gpt", "value": [{"type": BROKEN}]}]},
    "the type of a part of the system text": {"system": [{"type": BROKEN}], "conversations": TURNS},
}


@pytest.mark.parametrize("name", BROKEN_NAMES)
def test_a_name_with_half_a_character_is_reported_by_its_escape(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps(BROKEN_NAMES[name]) + "\n")
    is_good = "conversations" in BROKEN_NAMES[name] and name.startswith("a field of a")
    for program, code in ((main, 0 if is_good else 2), (report, 0 if is_good else 1)):
        assert program([str(path)]) == code
        assert "\\\\ud83d" in capsys.readouterr().out

"""The report on a file: it counts as training does, and misses nothing."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory import measure
from flant5_train.arguments import DataArguments
from flant5_train.check import main as check
from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.dataset import make_supervised_data_module
from flant5_train.file_report import duplicates
from flant5_train.file_report.__main__ import main
from flant5_train.file_report.checks import ReportRequest, examine
from flant5_train.file_report.token_counts import LengthCounts, Tokenization
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.file_report import FileReport, ReportedProblem
from tests.flant5_train.conftest import EXAMPLES, REPOSITORY, T5_VOCABULARY
from tests.flant5_train.data.test_conversations import MALFORMED, TALK, UNUSABLE, changed, written

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]}
MEGABYTE = 1 << 20


def lines(*records: object) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def report_on(path: Path, **settings: object) -> FileReport:
    given = {"max_source_length": 2048, "max_target_length": 2048}
    return examine(path, ReportRequest(**given | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
@pytest.mark.parametrize("limits", [(2048, 2048), (100, 40)])
def test_an_exact_report_counts_what_a_run_counts(
    tiny_model: Path, tmp_path: Path, tokenization: Tokenization, limits: tuple[int, int]
) -> None:
    source, target = limits
    data = DataArguments(
        data_path=str(EXAMPLES),
        cache_directory=str(tmp_path),
        max_source_length=source,
        max_target_length=target,
    )
    tokenizer = load_tokenizer(tiny_model, tokenization=tokenization)
    of_run = make_supervised_data_module(tokenizer, data)["train_dataset"].report()
    report = report_on(
        EXAMPLES,
        model=str(tiny_model),
        tokenization=tokenization,
        max_source_length=source,
        max_target_length=target,
    )
    assert report.tokens.counted == "exact"
    assert (report.conversations, report.pairs) == (of_run.conversations, of_run.pairs)
    assert report.tokens.source_tokens == of_run.source_tokens
    assert report.tokens.target_tokens == of_run.target_tokens
    assert report.cut.truncated_sources == of_run.truncated_sources
    assert report.cut.truncated_targets == of_run.truncated_targets
    for mine, its in (
        (report.source_lengths, of_run.source_lengths),
        (report.target_lengths, of_run.target_lengths),
    ):
        assert mine is not None
        assert (mine.p50, mine.p90, mine.p99, mine.max) == (its.p50, its.p90, its.p99, its.max)
        assert sum(bucket.pairs for bucket in mine.histogram) == report.pairs


@pytest.mark.skipif(not T5_VOCABULARY.exists(), reason="T5's vocabulary is not here")
def test_an_estimate_is_within_a_tenth_of_t5s_count() -> None:
    exact = report_on(EXAMPLES, model=str(T5_VOCABULARY)).tokens
    estimated = report_on(EXAMPLES).tokens
    assert (exact.counted, estimated.counted) == ("exact", "estimated")
    assert estimated.source_tokens == pytest.approx(exact.source_tokens, rel=0.1)
    assert estimated.target_tokens == pytest.approx(exact.target_tokens, rel=0.1)


def test_a_vocabulary_that_is_not_here_is_no_failure_but_a_note(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"no vocabulary")
    for model, note in (
        (str(tmp_path), "is not a sentencepiece model"),
        ("flant5-demo", "trained on the job's own file"),
    ):
        tokens = report_on(EXAMPLES, model=model).tokens
        assert tokens.counted == "estimated"
        assert tokens.note is not None
        assert note in tokens.note


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
def test_nothing_is_downloaded_for_a_report(tokenization: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        command = [sys.executable, "-m", "flant5_train.file_report", str(EXAMPLES)]
        done = subprocess.run(
            [*command, "--model", "google/flan-t5-never", "--tokenization", tokenization],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
            env={**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"},
        )
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):
            hub.accept()
    tokens = FileReport.model_validate_json(done.stdout).tokens
    assert tokens.note == (
        "no spiece.model of 'google/flan-t5-never' is on this machine, and nothing is downloaded"
        " to count tokens"
    )


def test_without_the_trainers_packages_the_tokens_are_estimated(tiny_model: Path) -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['numpy', 'torch', 'transformers', "
        "'sentencepiece', 'tokenizers']); from flant5_train.file_report.__main__ import main; "
        f"sys.exit(main([{str(EXAMPLES)!r}, '--model', {str(tiny_model)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True
    )
    tokens = FileReport.model_validate_json(done.stdout).tokens
    assert (tokens.counted, tokens.note) == (
        "estimated",
        "the package numpy is not installed",
    )


def test_every_problem_of_a_file_is_listed_with_its_place(tmp_path: Path) -> None:
    messages = [
        {"role": "alien", "content": 5},
        "x",
        {"role": "assistant", "content": "a", "weight": 7},
        {"role": "system", "content": "b"},
        {"role": "assistant", "content": None, "tool_calls": [1], "function_call": {"name": "f"}},
    ]
    path = written(
        tmp_path / "talks.jsonl",
        lines(TALK, {"messages": messages}) + "\nnot json\n" + lines(CHAT, {"messages": []}, [1]),
    )
    report = report_on(path)
    assert not report.is_trainable
    assert (report.records, report.conversations, report.is_read_to_end) == (6, 2, True)
    assert [(each.record, each.line, each.field, each.kind) for each in report.problems.listed] == [
        (2, 2, "messages[0].role", "unknown role"),
        (2, 2, "messages[1]", "not a turn"),
        (2, 2, "messages[2].weight", "unknown weight"),
        (2, 2, "messages[4].tool_calls", "tool call"),
        (3, 4, None, "not valid JSON"),
        (5, 6, "messages", "no turns"),
        (6, 7, None, "not an object"),
    ]
    assert report.problems.listed[2] == ReportedProblem(
        record=2,
        line=2,
        field="messages[2].weight",
        kind="unknown weight",
        found="7",
        expected="0 (context only) or 1 (trained on); others can't be used",
        count=1,
        also_at=None,
    )
    assert (report.problems.num_problems, report.problems.num_records) == (7, 4)
    assert report_on(path, on_bad_record=OnBadRecord.SKIP).is_trainable


def test_what_makes_no_pair_is_a_warning_with_its_place(tmp_path: Path) -> None:
    empty = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": " "}]}
    open_end = {"messages": [*CHAT["messages"], {"role": "user", "content": "And?"}]}
    silent = {"messages": [{"role": "system", "content": "Be kind."}]}
    report = report_on(written(tmp_path / "a.jsonl", lines(empty, open_end, silent)))
    assert report.is_trainable
    assert [(each.record, each.field, each.kind) for each in report.warnings.listed] == [
        (1, "conversations[1]", "empty answer"),
        (2, "messages[2]", "human turn without an answer"),
        (3, "messages[0]", "no turns but a system turn"),
    ]
    assert report.left_out == {"empty answer": 1, "human turn without an answer": 1}


def test_warnings_name_the_field_and_count_in_the_words_of_the_file(tmp_path: Path) -> None:
    greeting = {"conversations": [{"from": "gpt", "value": "Welcome!"}, *TALK["conversations"]]}
    twice = {"messages": [CHAT["messages"][0], *CHAT["messages"]], "mood": "good"}
    thoughts = json.loads(json.dumps(CHAT))
    thoughts["messages"][1]["thinking"] = "Hm."
    records = [greeting, greeting, greeting, twice, twice, thoughts]
    path = written(tmp_path / "a.jsonl", lines(*records))
    report = report_on(path)
    assert [str(each) for each in report.warnings.listed] == [
        "record 1 (line 1), conversations[0] and record 2 (line 2), conversations[0] and 1 more"
        " places: found no question before the answer; expected a question, or"
        " on_missing_question=skip to leave such answers out",
        "record 4 (line 4), mood and record 5 (line 5), mood: found an unknown field, without"
        " effect",
        "record 4 (line 4), messages[1] and record 5 (line 5), messages[1]: found a second 'user'"
        " turn in a row, joined to the one before",
        "record 6 (line 6), messages[1].thinking: found a field without effect: used by other"
        " kinds of models; only the text is trained on",
    ]
    assert report.warnings.by_kind["answer without a question"] == 3
    assert (report.pairs, report.left_out) == (9, {})
    skipping = report_on(path, on_missing_question=OnMissingQuestion.SKIP)
    assert (skipping.pairs, skipping.left_out) == (6, {"answer without a question": 3})
    assert "answer without a question" not in skipping.warnings.by_kind


def test_equal_problems_are_one_with_their_count_and_two_places(tmp_path: Path) -> None:
    odd = {"messages": [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "Yo"}] * 2}
    report = report_on(written(tmp_path / "a.jsonl", lines(TALK, *[odd] * 55, 5)))
    first, last = report.problems.listed
    assert (first.record, first.field, first.count) == (2, "messages[1].role", 110)
    assert str(first.also_at) == "record 2 (line 2), messages[3].role"
    assert str(first).startswith(
        "record 2 (line 2), messages[1].role and record 2 (line 2), messages[3].role and 108 more"
        " places: found 'bot'; expected one of system, developer, user, assistant"
    )
    assert (str(last), last.count, last.also_at) == (
        "record 57 (line 57): found a number; expected an object with 'conversations' or"
        " 'messages'",
        1,
        None,
    )
    assert report.problems.by_kind == {"unknown role": 110, "not an object": 1}
    assert (report.problems.num_problems, report.problems.num_records) == (111, 56)


def test_all_problems_are_counted_and_a_hundred_that_differ_are_listed(tmp_path: Path) -> None:
    different = [{"messages": [{"role": f"r{n}", "content": ""}]} for n in range(125)]
    path = written(tmp_path / "a.jsonl", lines(*different, *different, TALK, *[TALK] * 150))
    report = report_on(path)
    assert report.problems.num_problems == 250
    assert report.problems.by_kind == {"unknown role": 250}
    assert [(each.record, each.count) for each in report.problems.listed] == [
        (number, 2) for number in range(1, 101)
    ]
    assert report.repeats.num_repeats == 150
    assert [each.record for each in report.repeats.listed] == [*range(252, 352)]


def test_what_keeps_the_rest_from_being_read_is_the_last_problem(tmp_path: Path) -> None:
    content = json.dumps([TALK, 5, TALK], indent=1)[:-30]
    report = report_on(written(tmp_path / "a.json", content), on_bad_record=OnBadRecord.SKIP)
    assert (report.is_read_to_end, report.is_trainable, report.pairs) == (False, False, 1)
    assert report.problems.listed[-1] == ReportedProblem(
        record=3,
        line=15,
        field=None,
        kind="unusable file",
        found="the file ends inside this record: it is truncated",
        expected=None,
        count=1,
        also_at=None,
    )


CONTENTS: dict[str, str | bytes] = {
    name: content or changed(change) for name, (change, content, _) in MALFORMED.items()
}
CONTENTS |= {name: content for name, (content, _) in UNUSABLE.items() if len(content) < MEGABYTE}
CONTENTS |= {"sound": lines(TALK), "without a pair": lines({"messages": CHAT["messages"][:1]})}


@pytest.mark.parametrize("on_bad_record", OnBadRecord)
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_can_be_trained_on_when_a_jobs_check_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, on_bad_record: OnBadRecord
) -> None:
    path = written(tmp_path / "talks", CONTENTS[name])
    options = [str(path), "--on-bad-record", on_bad_record]
    is_taken = check(options) == 0
    capsys.readouterr()
    assert main(options) == (0 if is_taken else 1)
    report = FileReport.model_validate_json(capsys.readouterr().out)
    assert report.is_trainable is is_taken
    assert bool(report.problems.num_problems) is (name not in ("sound", "without a pair"))


def test_a_missing_file_is_a_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "none: can't be read" in capsys.readouterr().out


@pytest.mark.parametrize("in_memory_bytes", [1 << 17, 1])
def test_repeats_are_found_in_any_form_and_wherever_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    monkeypatch.setattr(duplicates, "_IN_MEMORY_BYTES", in_memory_bytes)
    untrained = json.loads(json.dumps(CHAT))
    untrained["messages"][1]["weight"] = 0
    others = [{"messages": [{"role": "user", "content": str(n)}]} for n in range(100)]
    path = written(tmp_path / "a.jsonl", lines(TALK, *others, CHAT, untrained, others[7], TALK))
    found = report_on(path).repeats
    assert (found.num_repeats, found.num_repeated) == (3, 2)
    assert [(each.record, each.line, each.first_record) for each in found.listed] == [
        (102, 102, 1),
        (104, 104, 9),
        (105, 105, 1),
    ]


@given(st.lists(st.integers(1, 5000), min_size=1), st.integers(1, 6000))
def test_percentiles_and_cuts_are_those_of_the_list(lengths: list[int], limit: int) -> None:
    counts = LengthCounts()
    counts.add(lengths)
    summary = counts.summary()
    assert summary is not None
    expected = np.percentile(lengths, [50, 90, 99, 100], method="higher")
    assert [summary.p50, summary.p90, summary.p99, summary.max] == expected.tolist()
    assert counts.num_longer(limit) == sum(length > limit for length in lengths)
    assert counts.tokens_beyond(limit) == sum(max(0, length - limit) for length in lengths)
    below = 0
    for bucket in summary.histogram:
        inside = [length for length in lengths if below < length <= bucket.up_to]
        assert bucket.pairs == len(inside)
        below = bucket.up_to


@pytest.mark.stack
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    talks = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    peaks = []
    for megabytes in (8, 48):
        path = tmp_path / f"{megabytes}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            while file.tell() < megabytes * MEGABYTE:
                file.write(lines(*talks))
        command = [sys.executable, "-m", "flant5_train.file_report", str(path)]
        peaks.append(measure(command).peak_bytes)
    assert peaks[1] - peaks[0] < 10 * MEGABYTE, peaks

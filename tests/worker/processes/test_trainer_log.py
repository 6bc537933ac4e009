from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.storage.log_format import format_line, parse_line
from worker.processes.trainer_log import END_BYTES, MAX_CHARACTERS, LineSplitter, TrainerLog


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_a_line_is_read_as_it_was_written(text: str) -> None:
    at = datetime(2026, 11, 24, 3, 52, 10, 317_000, tzinfo=UTC)
    line = format_line(text, stream="stderr", at=at)
    assert line.startswith(b"2026-11-24T03:52:10.317Z stderr ")
    assert parse_line(line) == (at.timestamp(), "stderr", text)


def test_a_line_without_its_head_is_read_as_text() -> None:
    assert parse_line(b"Z stdout half a line\n") == (None, "stdout", "Z stdout half a line")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_the_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    whole = LineSplitter()
    expected = whole.feed(data) + whole.feed(b"", is_last=True)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = LineSplitter()
    lines = [
        line
        for start, end in zip(places, [*places[1:], len(data)], strict=True)
        for line in parts.feed(data[start:end])
    ]
    assert lines + parts.feed(b"", is_last=True) == expected


@pytest.mark.parametrize(
    ("sequence", "rest"),
    [
        ("\x1b[1;31m", ""),
        ("\x1b[?25l", ""),
        ("\x1b[2 q", ""),
        ("\x9b0m", ""),
        ("\x1b]0;title\x07", ""),
        ("\x1b]0;title\x1b\\", ""),
        ("\x1b]8;;https://example.org\x1b\\", ""),
        ("\x9d0;title\x9c", ""),
        ("\x1bPq#0;2\x1b\\", ""),
        ("\x1b_command\x1b\\", ""),
        ("\x1b^private\x1b\\", ""),
        ("\x1bXstring\x1b\\", ""),
        ("\x1b(B", ""),
        ("\x1b)0", ""),
        ("\x1b%G", ""),
        ("\x1b#8", ""),
        ("\x1b7", ""),
        ("\x1b=", ""),
        ("\x1bc", ""),
        ("\x1bM", ""),
        ("\x07", ""),
        ("\x1b]a string without its end", "a string without its end"),
    ],
)
def test_a_terminal_sequence_leaves_nothing_and_takes_no_text_along(
    sequence: str, rest: str
) -> None:
    lines = LineSplitter().feed(f"loss\t{sequence}3.2 [B] (B {{}}\nnext\n".encode())
    assert lines == [f"loss\t{rest}3.2 [B] (B {{}}", "next"]


def test_a_line_that_never_ends_does_not_fill_the_memory() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(10) for line in splitter.feed(b"x" * 5000)]
    assert [len(line) for line in lines] == [MAX_CHARACTERS] * 6
    assert len(splitter.feed(b"", is_last=True)[0]) == 50_000 - 6 * MAX_CHARACTERS


def test_a_line_that_a_killed_predecessor_cut_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"2026-11-24T03:52:10.317Z stdout whole\n2026-11-24T03:52:1")
    TrainerLog(path).append("stdout", ["next"])
    texts = [parse_line(line)[2] for line in path.read_bytes().splitlines()]
    assert texts == ["whole", "2026-11-24T03:52:1", "next"]


def test_a_full_disk_costs_lines_and_is_told_when_there_is_room_again(tmp_path: Path) -> None:
    full, log = Path("/dev/full"), TrainerLog(tmp_path / "train.log")
    with full.open("ab") as disk:
        room, log._descriptor = log._descriptor, disk.fileno()
        log.append("stdout", ["lost", "lost too"])
        log._descriptor = room
    log.append("stdout", ["kept"])
    texts = [parse_line(line)[2] for line in (tmp_path / "train.log").read_bytes().splitlines()]
    assert texts == ["[2 lines before this one were lost: the disk was full]", "kept"]


def texts_of(path: Path) -> list[str]:
    return [parse_line(line)[2] for line in path.read_bytes().splitlines()]


def test_a_log_that_is_full_keeps_its_beginning_and_the_end_of_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    log = TrainerLog(path, max_bytes=1000)
    for number in range(10_000):
        log.append("stdout", [f"line {number}"])
    before = path.read_bytes()
    assert len(before) < 1000 + 200
    log.close()
    assert path.read_bytes().startswith(before), "followers have read that much"
    assert path.stat().st_size < 1000 + 400 + END_BYTES
    texts = texts_of(path)
    full = next(at for at, text in enumerate(texts) if "has reached 1,000 bytes" in text)
    assert texts[:full] == [f"line {number}" for number in range(full)]
    num_left_out = int(texts[full + 1].split()[0].removeprefix("["))
    assert texts[full + 2 :] == [f"line {n}" for n in range(full + num_left_out, 10_000)]


def test_a_full_log_gets_the_end_of_the_next_attempt_too(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(format_line("x" * 2000, stream="stdout", at=datetime.now(UTC)))
    with closing(TrainerLog(path, max_bytes=1000)) as log:
        log.append("stderr", ["ValueError: the reason"])
    assert texts_of(path)[-2:] == ["[0 lines were left out]", "ValueError: the reason"]

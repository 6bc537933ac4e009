"""How fast a run was, from the two ends of its progress file."""

from pathlib import Path

import pytest

from flant5_train.protocol.progress import FileEncoding, Record, StepTrained
from worker.jobs.storage import run_files
from worker.jobs.storage.run_files import read_step_span


def step(number: int, *, at: float, tokens: int, tflops: float | None = 2.0) -> StepTrained:
    return StepTrained(
        at=at,
        step=number,
        max_steps=9,
        epoch=1,
        loss=1,
        learning_rate=1,
        tokens_seen=tokens,
        tokens_per_second=1000,
        tflops=tflops,
        eta_seconds=0,
    )


def write(path: Path, *records: Record, tail: str = "") -> Path:
    lines = [f"{record.model_dump_json()}\n" for record in records]
    path.write_text("".join(lines) + tail, encoding="utf-8")
    return path


def test_a_span_is_from_the_end_of_the_first_step_to_the_last_with_all_between(
    tmp_path: Path,
) -> None:
    records = [step(1, at=60, tokens=500), step(2, at=61, tokens=1000), step(3, at=70, tokens=1500)]
    span = read_step_span(write(tmp_path / "progress.jsonl", *records, tail='{"type": "st'))
    assert span is not None
    assert (span.seconds, span.tokens_per_second) == (10, 100)
    assert span.flops_per_second == pytest.approx(100 * 2e12 / 1000)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [step(1, at=1, tokens=10), step(2, at=2, tokens=20)],
        [step(1, at=1, tokens=10, tflops=None), step(3, at=3, tokens=20, tflops=None)],
        [step(1, at=5, tokens=10), step(3, at=5, tokens=20)],
        [step(1, at=1, tokens=10), step(3, at=3, tokens=10)],
    ],
)
def test_what_was_not_measured_has_no_span(tmp_path: Path, records: list[Record]) -> None:
    assert read_step_span(write(tmp_path / "progress.jsonl", *records)) is None


def test_a_run_that_wrote_nothing_has_no_span(tmp_path: Path) -> None:
    assert read_step_span(tmp_path / "progress.jsonl") is None


def test_only_the_ends_of_a_long_file_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "_END_BYTES", 1000)
    between = FileEncoding(at=1, file="a", conversations=1, bytes_done=1, bytes_total=1)
    last = [step(4, at=3, tokens=30), step(5, at=5, tokens=90)]
    records: list[Record] = [step(1, at=1, tokens=10), *[between] * 500, *last]
    path = write(tmp_path / "progress.jsonl", *records)
    seen: list[bytes] = []
    parsed = run_files._parsed

    def counting(line: bytes) -> Record | None:
        seen.append(line)
        return parsed(line)

    monkeypatch.setattr(run_files, "_parsed", counting)
    span = read_step_span(path)
    assert span is not None
    assert (span.seconds, span.tokens_per_second) == (4, 20)
    assert len(seen) < 20

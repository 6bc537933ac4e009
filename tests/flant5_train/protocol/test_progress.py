from pathlib import Path

import pytest
from pydantic import ValidationError

from flant5_train.protocol.progress import PhaseChange, Stopped, parse_record, read_records
from flant5_train.training.progress_log import ProgressLog
from tests.small_disk import fill, small_disk

SAVING = PhaseChange(at=1.5, phase="saving")
STOPPED = Stopped(at=2.5, step=3, path="out/checkpoint-3")


def test_records_are_read_back_in_order(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "run" / "progress.jsonl")
    log.append(SAVING)
    log.append(STOPPED)
    log.close()
    assert list(read_records(tmp_path / "run" / "progress.jsonl")) == [SAVING, STOPPED]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(SAVING.model_dump_json().encode() + b'\n{"type": "ph')
    assert list(read_records(path)) == [SAVING]


@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_line_cut_by_a_kill_is_dropped_when_the_next_run_appends(
    tmp_path: Path, whole: int
) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes((SAVING.model_dump_json().encode() + b"\n") * whole + b'{"type": "ph')
    log = ProgressLog(path)
    log.append(STOPPED)
    log.close()
    assert list(read_records(path)) == [SAVING] * whole + [STOPPED]


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValidationError):
        parse_record(b'{"type": "surprise", "at": 1}')


def append_many(log: ProgressLog) -> None:
    for _ in range(200):
        log.append(SAVING)


def test_a_record_that_finds_no_room_is_left_out_as_a_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        path = disk / "progress.jsonl"
        log = ProgressLog(path)
        log.append(SAVING)
        fill(disk, leaving_bytes=0)
        with pytest.raises(OSError, match="No space left"):
            append_many(log)  # until the rest of the file's last page is used up
        records = list(read_records(path))
        assert path.read_bytes().endswith(b"}\n")
        (disk / "ballast").unlink()
        log.append(STOPPED)
        log.close()
        assert list(read_records(path)) == [*records, STOPPED]

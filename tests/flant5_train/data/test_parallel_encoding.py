"""Files that several processes encode: the same bytes, the same errors, bounded memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.memory import descendants, measure
from benchmarks.talks import write_array
from flant5_train.config import OnBadRecord
from flant5_train.data.cache import (
    DataCache,
    EncodedFileWriter,
    complete,
    encode_file,
    num_processes_for,
)
from flant5_train.data.encoding import BlockEncoder, Ids, LosslessEncoder, encoder_for
from flant5_train.data.errors import DataError
from flant5_train.models.tokenizer import LosslessTokenizer, load_tokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError, read_failure
from flant5_train.protocol.progress import FileEncoding
from tests.flant5_train.runs import command, environment
from tests.worker.scenes import wait_until

MEGABYTE = 1 << 20
PROGRAMS = Path(__file__).parents[1] / "programs"


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five blocks of conversations."""
    path = tmp_path_factory.mktemp("talks") / "talks.json"
    write_array(path, num_bytes=5 * MEGABYTE)
    return path


@pytest.fixture
def encode(lossless: LosslessTokenizer) -> BlockEncoder:
    return BlockEncoder(encoder_for(lossless), OnBadRecord.FAIL)


def written(
    path: Path, encode: BlockEncoder, directory: Path, *, num_processes: int
) -> list[bytes]:
    """The bytes of all files that come of it."""
    with EncodedFileWriter(directory, token_type=encode.token_type) as writer:
        for block in encode_file(path, encode, num_processes=num_processes):
            writer.append(block.batch)
    complete(directory, writer.manifest)
    return [file.read_bytes() for file in sorted(directory.iterdir())]


@pytest.mark.parametrize("form", ["array", "lines"])
def test_the_bytes_do_not_depend_on_the_number_of_processes(
    talks: Path, encode: BlockEncoder, tmp_path: Path, form: str
) -> None:
    path = talks
    if form == "lines":
        path = tmp_path / "talks.jsonl"
        records = json.loads(talks.read_text(encoding="utf-8"))
        path.write_text("\n\n".join(json.dumps(record) for record in records), encoding="utf-8")
    one, *others = [written(path, encode, tmp_path / str(n), num_processes=n) for n in (1, 2, 3)]
    assert all(other == one for other in others)


def test_fastchats_ids_do_not_depend_on_the_number_of_processes_either(
    vocabulary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "talks.json"
    write_array(path, num_bytes=MEGABYTE * 3 // 2)
    tokenizer = load_tokenizer(vocabulary, tokenization="fastchat")
    encode = BlockEncoder(encoder_for(tokenizer), OnBadRecord.FAIL)
    one = written(path, encode, tmp_path / "1", num_processes=1)
    assert written(path, encode, tmp_path / "2", num_processes=2) == one


def records_of(talks: Path) -> list[Any]:
    records: list[Any] = json.loads(talks.read_text(encoding="utf-8"))
    return records


@pytest.mark.parametrize("num_processes", [1, 2])
def test_the_first_fault_of_the_file_is_the_one_that_is_told(
    talks: Path, encode: BlockEncoder, tmp_path: Path, num_processes: int
) -> None:
    records = records_of(talks)
    early, late = len(records) // 2, len(records) - 1
    for at in (late, early):
        records[at]["conversations"][1]["from"] = f"alien {at}"
    path = tmp_path / "talks.json"
    # Cut off in the last record as well, which the reader is first to see.
    path.write_text(json.dumps(records)[:-20], encoding="utf-8")
    place = rf"talks\.json: record {early + 1} \(line 1\): field 'conversations\[1\]\.from': found"
    with pytest.raises(DataError, match=place):
        list(encode_file(path, encode, num_processes=num_processes))
    records[early]["conversations"][1]["from"] = "gpt"
    path.write_text(json.dumps(records)[:-20], encoding="utf-8")
    with pytest.raises(DataError, match=rf"record {late + 1} \(line 1\): the file ends inside"):
        list(encode_file(path, encode, num_processes=num_processes))


def test_records_left_out_are_counted_over_all_processes(
    talks: Path, encode: BlockEncoder, tmp_path: Path
) -> None:
    records = records_of(talks)
    for record in records[::50]:
        record["conversations"][0]["from"] = "alien"
    path = tmp_path / "talks.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    skip = BlockEncoder(encode.encoder, OnBadRecord.SKIP)
    blocks = list(encode_file(path, skip, num_processes=2))
    left_out = [block.batch.left_out["record: unknown role"] for block in blocks]
    assert sum(left_out) == len(records[::50])
    assert sum(block.batch.num_conversations for block in blocks) == len(records) - sum(left_out)


@dataclass(frozen=True, slots=True)
class DyingEncoder:
    """Kills its process at a word."""

    word: str
    number: signal.Signals
    num_tokens: int = 10
    fingerprint: str = "dying"

    def encode(self, texts: Sequence[str]) -> Sequence[Ids]:
        if any(self.word in text for text in texts):
            os.kill(os.getpid(), self.number)
        return [np.zeros(len(text), np.int32) for text in texts]

    num_end_tokens = LosslessEncoder.num_end_tokens
    cut = LosslessEncoder.cut


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (signal.SIGKILL, FailureCode.HOST_OOM, r"signal 9 \(SIGKILL\), most likely because memory"),
        (signal.SIGSEGV, FailureCode.KILLED, r"signal 11 \(SIGSEGV\) while"),
    ],
)
def test_a_process_that_is_killed_fails_the_run_with_the_records_it_was_at(
    talks: Path, tmp_path: Path, number: signal.Signals, code: FailureCode, reason: str
) -> None:
    records = records_of(talks)
    records[len(records) // 2]["conversations"][0]["value"] = "here it dies"
    path = tmp_path / "talks.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    dying: Any = DyingEncoder("here it dies", number)
    encode = BlockEncoder(dying, OnBadRecord.FAIL)
    with pytest.raises(TrainingError, match=reason) as caught:
        list(encode_file(path, encode, num_processes=2))
    assert caught.value.code is code
    told = str(caught.value).partition("while encoding records ")[2].split()
    assert told[1::2] == ["to", "of"]
    assert int(told[0]) <= len(records) // 2 + 1 <= int(told[2])


def test_records_that_are_all_left_out_make_an_empty_block(
    encode: BlockEncoder, tmp_path: Path
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text('{"x": 1}\n' * 3, encoding="utf-8")
    skip = BlockEncoder(encode.encoder, OnBadRecord.SKIP)
    (block,) = encode_file(path, skip, num_processes=1)
    assert (block.batch.num_conversations, len(block.batch.tokens)) == (0, 0)
    assert block.batch.left_out == {"record: no conversation field": 3}


@pytest.mark.stack
def test_a_run_whose_preprocessing_process_is_killed_says_so(
    tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "talks.json"
    write_array(path, num_bytes=40 * MEGABYTE)
    out = tmp_path / "out"
    launcher = subprocess.Popen(
        command(out, processes=2, data_path=path, model_name_or_path=tiny_model),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: encoding_processes(launcher.pid), what="processes encode")
    os.kill(encoding_processes(launcher.pid)[0], signal.SIGKILL)
    assert launcher.wait(timeout=60) != 0
    failure = read_failure(out / "error.json")
    assert failure is not None
    assert failure.code is FailureCode.HOST_OOM
    assert "a preprocessing process was killed by signal 9 (SIGKILL)" in failure.message
    assert [entry.suffix for entry in (out / "cache").iterdir()] == [".lock"]


def encoding_processes(launcher: int) -> list[int]:
    """The processes of the pool in one of a launcher's ranks."""
    return [pid for pid in descendants(launcher) if b"process_pool" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_it_says_how_far_it_is(
    talks: Path, lossless: LosslessTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[FileEncoding] = []
    cache = DataCache(tmp_path, encoder_for(lossless), OnBadRecord.FAIL, report=told.append)
    monkeypatch.setattr("flant5_train.data.cache.SECONDS_BETWEEN_REPORTS", 0)
    manifest = cache.build(talks).manifest
    assert len(told) >= 4
    assert told == sorted(told, key=lambda record: (record.conversations, record.bytes_done))
    assert {record.bytes_total for record in told} == {talks.stat().st_size}
    assert told[-1].bytes_done == talks.stat().st_size
    assert told[-1].conversations == manifest.num_conversations


def test_it_says_nothing_of_what_takes_no_time(
    talks: Path, lossless: LosslessTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[FileEncoding] = []
    cache = DataCache(tmp_path, encoder_for(lossless), OnBadRecord.FAIL, report=told.append)
    monkeypatch.setattr("flant5_train.data.cache.SECONDS_BETWEEN_REPORTS", 3600)
    cache.build(talks)
    cache.build(talks)
    assert told == []


@pytest.fixture
def one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def large_file(directory: Path) -> Path:
    path = directory / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    return path


def test_a_large_file_gets_as_many_processes_as_there_are_cores_up_to_eight(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert num_processes_for(large_file(tmp_path)) == min(cores, 8)


def test_one_core_is_not_shared(one_core: None, tmp_path: Path) -> None:
    assert num_processes_for(large_file(tmp_path)) == 1


def test_a_small_file_is_encoded_at_once(talks: Path) -> None:
    assert num_processes_for(talks) == 1


@pytest.mark.stack
def test_memory_does_not_grow_with_the_file(vocabulary: Path, tmp_path: Path) -> None:
    """30 MB more of conversations, held as text alone, would be 30 MB more of memory."""
    peaks = []
    for megabytes in (10, 40):
        path = tmp_path / f"{megabytes}.json"
        write_array(path, num_bytes=megabytes * MEGABYTE)
        program = str(PROGRAMS / "encodes_a_file.py")
        measured = measure([sys.executable, program, str(path), str(vocabulary), str(tmp_path)])
        peaks.append(measured.peak_bytes)
    assert peaks[1] - peaks[0] < 15 * MEGABYTE, peaks


@pytest.mark.stack
def test_a_run_that_is_stopped_while_it_encodes_leaves_no_half_of_a_cache(
    vocabulary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "talks.json"
    write_array(path, num_bytes=40 * MEGABYTE)
    cache = tmp_path / "cache"
    program = str(PROGRAMS / "encodes_a_file.py")
    arguments = [sys.executable, program, str(path), str(vocabulary), str(cache)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("encoded ")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readlines()[-1] == "stopped\n"
    assert process.returncode == 0
    assert [entry.suffix for entry in cache.iterdir()] == [".lock"]

"""Real runs on a disk that fills up while they write: what was complete stays, the reason is told,
and with room again the next run ends as if nothing had happened."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flant5_train.config import OnBadRecord
from flant5_train.data.cache import DataCache
from flant5_train.data.encoding import encoder_for
from flant5_train.models.tokenizer import LosslessTokenizer
from flant5_train.protocol.failure import ROOM_BYTES, Failure, FailureCode, TrainingError
from flant5_train.protocol.progress import ModelSaved, TrainingStarted
from flant5_train.training.checkpoints import complete_checkpoints
from tests.flant5_train.runs import Run, run, run_program, some_examples
from tests.small_disk import fill, free_bytes, small_disk

BOOKKEEPING_BYTES = 2 * ROOM_BYTES
"""For progress.jsonl, error.json and directories."""


@dataclass(frozen=True, slots=True)
class Uninterrupted:
    """A run with room enough, and how to repeat it."""

    run: Run
    settings: dict[str, Any]

    @property
    def checkpoint_bytes(self) -> int:
        files = (self.run.output_dir / "checkpoint-8").rglob("*")
        return sum(path.stat().st_size for path in files)

    @property
    def weights_bytes(self) -> int:
        return len(self.run.weights())


@pytest.fixture(scope="module")
def uninterrupted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    directory = tmp_path_factory.mktemp("uninterrupted")
    settings: dict[str, Any] = {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(directory / "talks.json", 30),
        "cache_directory": directory / "cache",
        "max_steps": 8,
        "save_steps": 4,
        "save_total_limit": 1,
    }
    finished = run(directory / "out", **settings)
    assert finished.exit_code == 0, finished.log
    return Uninterrupted(finished, settings)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", num_bytes=32 << 20) as disk:
        yield disk


def disk_full_failure(finished: Run) -> Failure:
    assert finished.exit_code != 0
    failure = finished.failure()
    assert failure is not None, finished.log
    assert failure.code is FailureCode.DISK_FULL, failure
    assert " bytes are free (" in failure.message
    return failure


def starts(finished: Run) -> list[int]:
    return [record.step for record in finished.records() if isinstance(record, TrainingStarted)]


@pytest.mark.parametrize(("share", "processes"), [(0.1, 1), (0.6, 1), (0.6, 2)])
def test_a_checkpoint_that_finds_no_room_leaves_the_one_before_it(
    uninterrupted: Uninterrupted, disk: Path, share: float, processes: int
) -> None:
    """`share` of the second checkpoint fits: the disk is full within the weights, or within the
    optimizer's state."""
    settings = uninterrupted.settings | {"per_device_train_batch_size": 4 // processes}
    room = int((1 + share) * uninterrupted.checkpoint_bytes) + BOOKKEEPING_BYTES
    ballast = fill(disk, leaving_bytes=room)
    stopped = run_program("trusts_the_disk", disk / "out", processes=processes, **settings)
    failure = disk_full_failure(stopped)
    assert f"checkpoint-8 could not be written to {disk / 'out'}, where" in failure.message
    left = {path.name for path in (disk / "out").iterdir()}
    # A process that was still writing may have left its part; the next run removes it.
    cut = {"checkpoint-8"} if processes > 1 else set()
    assert left - cut == {"checkpoint-4", "error.json", "progress.jsonl", "tensorboard"}
    assert complete_checkpoints(disk / "out") == [disk / "out" / "checkpoint-4"]
    ballast.unlink()
    resumed = run(disk / "out", processes=processes, **settings)
    assert resumed.exit_code == 0, resumed.log
    assert starts(resumed) == [0, 4]
    if processes == 1:
        assert resumed.weights() == uninterrupted.run.weights()


def test_a_final_model_that_finds_no_room_is_written_by_the_next_run(
    uninterrupted: Uninterrupted, disk: Path
) -> None:
    num_bytes = uninterrupted.checkpoint_bytes + uninterrupted.weights_bytes // 2
    ballast = fill(disk, leaving_bytes=num_bytes + BOOKKEEPING_BYTES)
    settings = uninterrupted.settings | {"save_steps": 8}
    stopped = run_program("trusts_the_disk", disk / "out", **settings)
    assert "the final model could not be written" in disk_full_failure(stopped).message
    assert not list((disk / "out").glob("*.safetensors"))
    assert complete_checkpoints(disk / "out") == [disk / "out" / "checkpoint-8"]
    ballast.unlink()
    resumed = run(disk / "out", **settings)
    assert resumed.exit_code == 0, resumed.log
    assert isinstance(resumed.records()[-1], ModelSaved)
    assert resumed.weights() == uninterrupted.run.weights()


@pytest.mark.parametrize(
    ("room", "what"), [(8192, "progress.jsonl"), (16384, "the curves for TensorBoard")]
)
def test_a_report_that_finds_no_room_ends_the_run(
    uninterrupted: Uninterrupted, disk: Path, room: int, what: str
) -> None:
    """`room` is what two files that grow in turn, page by page, find; `what` comes too late."""
    fill(disk, leaving_bytes=ROOM_BYTES + room)
    settings = uninterrupted.settings | {"max_steps": 100, "save_steps": 1000}
    stopped = run_program("trusts_the_disk", disk / "out", **settings)
    failure = disk_full_failure(stopped)
    assert f"{what} could not be written to {disk / 'out'}" in failure.message
    assert stopped.steps(), "every line of it is whole"


def test_a_cache_that_finds_no_room_is_cleared_and_built_later(
    lossless: LosslessTokenizer, tmp_path: Path
) -> None:
    data = some_examples(tmp_path / "talks.json", 100)
    encoder = encoder_for(lossless)
    elsewhere = DataCache(tmp_path / "elsewhere", encoder, OnBadRecord.FAIL).build(data)
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        cache = DataCache(disk / "cache", encoder, OnBadRecord.FAIL)
        for room in (0, 4096, 16_384, elsewhere.tokens.nbytes + 8192):
            ballast = fill(disk, leaving_bytes=room)
            with pytest.raises(TrainingError) as caught:
                cache.build(data)
            assert caught.value.code is FailureCode.DISK_FULL
            assert f"could not be written to {disk / 'cache'}, where" in str(caught.value)
            assert not [path for path in disk.rglob("*") if path.is_dir() and path.parent != disk]
            ballast.unlink()
        assert free_bytes(disk) > elsewhere.tokens.nbytes
        assert cache.build(data).manifest == elsewhere.manifest

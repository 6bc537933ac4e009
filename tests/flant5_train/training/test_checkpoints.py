from pathlib import Path

import pytest

from flant5_train.training.checkpoints import (
    MARKER,
    complete_checkpoints,
    mark_complete,
    newest_complete_checkpoint,
    remove_incomplete_checkpoints,
    remove_old_checkpoints,
)


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Complete checkpoints at steps 5, 10 and 100, an incomplete one at 7 and at 200."""
    for step in (5, 7, 10, 100, 200):
        directory = tmp_path / f"checkpoint-{step}"
        directory.mkdir()
        (directory / "model.safetensors").write_bytes(b"weights")
        if step not in (7, 200):
            mark_complete(directory)
    (tmp_path / "checkpoint-best").mkdir()
    return tmp_path


def test_the_newest_complete_checkpoint_is_resumed(output_dir: Path, tmp_path: Path) -> None:
    assert newest_complete_checkpoint(output_dir) == output_dir / "checkpoint-100"
    assert newest_complete_checkpoint(tmp_path / "nothing") is None


def test_old_checkpoints_go_and_one_being_written_stays(output_dir: Path) -> None:
    remove_old_checkpoints(output_dir, keep=2)
    left = sorted(path.name for path in output_dir.iterdir())
    assert left == ["checkpoint-10", "checkpoint-100", "checkpoint-200", "checkpoint-best"]


def test_nothing_is_removed_while_nothing_is_complete(output_dir: Path) -> None:
    for checkpoint in complete_checkpoints(output_dir):
        (checkpoint / MARKER).unlink()
    remove_old_checkpoints(output_dir, keep=1)
    assert len(list(output_dir.iterdir())) == 6


def test_the_newest_complete_checkpoint_stays_until_a_newer_one_is_complete(
    output_dir: Path,
) -> None:
    remove_old_checkpoints(output_dir, keep=1)
    remove_old_checkpoints(output_dir, keep=1)
    assert newest_complete_checkpoint(output_dir) == output_dir / "checkpoint-100"
    assert (output_dir / "checkpoint-200").exists()
    mark_complete(output_dir / "checkpoint-200")
    assert (output_dir / "checkpoint-100").exists(), "nothing goes by itself"
    remove_old_checkpoints(output_dir, keep=1)
    assert complete_checkpoints(output_dir) == [output_dir / "checkpoint-200"]


def test_what_earlier_runs_left_half_saved_goes(output_dir: Path) -> None:
    remove_incomplete_checkpoints(output_dir)
    left = sorted(path.name for path in output_dir.iterdir())
    assert left == ["checkpoint-10", "checkpoint-100", "checkpoint-5", "checkpoint-best"]

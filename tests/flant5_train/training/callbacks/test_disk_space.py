from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from flant5_train.arguments import TrainingArguments
from flant5_train.estimates.checkpoint import optimizer_state_bytes
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.failure import ROOM_BYTES, FailureCode, TrainingError
from flant5_train.training.callbacks.disk_space import SaveSize, require_disk_space
from flant5_train.training.trainer import ConversationTrainer
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples
from tests.small_disk import fill, small_disk


def bytes_of(directory: Path) -> int:
    """Returns the size of all files below `directory`, those of checkpoints in it left out."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return sum(
        path.stat().st_size
        for path in found
        if not path.relative_to(directory).parts[0].startswith("checkpoint-")
    )


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path / "talks.json", 20),
        "cache_directory": tmp_path / "cache",
        "max_steps": 4,
        "save_steps": 2,
    }


def estimate(model: Path, optimizer: str = "adamw_torch_fused") -> SaveSize:
    loaded = load_model(str(model), load_tokenizer(model))
    training = TrainingArguments(output_dir="out", optim=optimizer)
    return SaveSize.of(loaded, training, num_logs=4)


@pytest.mark.parametrize("optimizer", ["adamw_torch_fused", "adafactor"])
def test_the_size_of_what_is_saved_is_known_before(
    settings: dict[str, Any],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
) -> None:
    expected = estimate(tiny_model, optimizer)
    finished = run_here(monkeypatch, tmp_path / "out", optim=optimizer, **settings)
    assert finished.exit_code == 0, finished.log
    saved = bytes_of(tmp_path / "out" / "checkpoint-4")
    assert saved <= expected.checkpoint <= 1.5 * saved
    (tmp_path / "out" / "progress.jsonl").unlink()
    assert bytes_of(tmp_path / "out") <= expected.final_model


def test_adafactor_keeps_sums_of_rows_and_columns_and_8_bit_moments_take_a_byte() -> None:
    matrix, vector = nn.Parameter(torch.zeros(30, 20)), nn.Parameter(torch.zeros(7))
    shapes = [(30, 20), (7,)]
    assert optimizer_state_bytes(shapes, "adamw_torch") == 2 * 4 * 607
    assert optimizer_state_bytes(shapes, "adamw_bnb_8bit") == 2 * 607
    adafactor = torch.optim.Adafactor([matrix, vector])
    matrix.grad, vector.grad = torch.ones_like(matrix), torch.ones_like(vector)
    adafactor.step()
    kept = [
        value.numel() * 4
        for state in adafactor.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    assert optimizer_state_bytes(shapes, "adafactor") == sum(kept)


def test_a_run_without_room_for_its_first_checkpoint_and_its_model_is_refused(
    settings: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = estimate(tiny_model)
    with small_disk(tmp_path / "disk", num_bytes=32 << 20) as disk:
        fill(disk, leaving_bytes=size.checkpoint + ROOM_BYTES)
        finished = run_here(monkeypatch, disk / "out", **settings)
        failure = finished.failure()
        assert failure is not None, finished.log
        assert failure.code is FailureCode.DISK_FULL
        assert "too full for the first checkpoint and the final model: " in failure.message
        assert f" bytes are free in {disk / 'out'}, about " in failure.message
        assert not finished.steps(), "refused before it trained"


def test_a_checkpoint_that_would_find_no_room_is_not_begun(
    settings: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is lost while the run trains."""
    size = estimate(tiny_model)
    with small_disk(tmp_path / "disk", num_bytes=32 << 20) as disk:
        usual = ConversationTrainer.training_step

        def fills_the_disk(trainer: ConversationTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
            if trainer.state.global_step == 3:
                fill(disk, leaving_bytes=size.checkpoint - 8192)
            return usual(trainer, *args, **kwargs)

        monkeypatch.setattr(ConversationTrainer, "training_step", fills_the_disk)
        finished = run_here(monkeypatch, disk / "out", **settings)
        failure = finished.failure()
        assert failure is not None, finished.log
        assert failure.code is FailureCode.DISK_FULL
        assert "too full for checkpoint-4: " in failure.message
        assert [path.name for path in (disk / "out").glob("checkpoint-*")] == ["checkpoint-2"]
        assert len(finished.steps()) == 4


def test_the_message_names_what_is_needed_and_what_is_free(tmp_path: Path) -> None:
    require_disk_space("x", 1, tmp_path, device=torch.device("cpu"))
    with pytest.raises(
        TrainingError, match=r"too full for x: \d+ bytes are free in .*, about 1000"
    ):
        require_disk_space("x", 10**18, tmp_path, device=torch.device("cpu"))

"""Models in memory: never more bytes than there may be, and never another file's."""

import shutil
from pathlib import Path

import pytest
import torch

from flant5_train.protocol.failure import TrainingError
from flant5_train.serving.model_cache import (
    LoadedModel,
    ModelCache,
    ModelTooLargeError,
    expected_bytes,
    model_cache_on,
)


@pytest.fixture
def models(talkative: Path, tmp_path: Path) -> list[str]:
    """Three copies of a model."""
    return [str(shutil.copytree(talkative, tmp_path / name)) for name in ("a", "b", "c")]


def shelf_for(num_models: float, model: str) -> ModelCache:
    """With room for so many of these."""
    max_bytes = int(num_models * expected_bytes(model))
    return model_cache_on(torch.device("cpu"), max_bytes=max_bytes, max_source_tokens=256)


def test_the_expected_bytes_are_enough_and_not_many_more(
    loaded: LoadedModel, talkative: Path
) -> None:
    rows_that_a_base_model_may_lack = 2 * 512 * 32 * 4
    spare = expected_bytes(str(talkative)) - loaded.num_bytes
    assert 0 < spare <= rows_that_a_base_model_may_lack


def test_a_model_stays_until_another_needs_its_room_and_the_oldest_goes_first(
    models: list[str],
) -> None:
    a, b, c = models
    cache = shelf_for(2, a)
    first = cache.get(a)
    cache.get(b)
    assert cache.get(a) is first
    cache.get(c)
    assert cache.names == (a, c)
    assert cache.get(a) is first
    cache.clear()
    assert cache.num_bytes == 0


def test_a_model_that_alone_is_too_large_is_refused_and_costs_nobody_the_room(
    models: list[str],
) -> None:
    a, b, _ = models
    cache = shelf_for(1, a)
    cache.get(a)
    config = Path(b) / "config.json"
    config.write_text(config.read_text().replace('"d_ff": 64', '"d_ff": 64000'))
    with pytest.raises(
        ModelTooLargeError, match=r"takes 0\.0\d GiB .*FLANT5_INFERENCE_MODEL_BYTES"
    ):
        cache.get(b)
    assert cache.names == (a,)


def test_files_that_changed_are_loaded_anew(models: list[str]) -> None:
    a, *_ = models
    cache = shelf_for(2, a)
    first = cache.get(a)
    weights = Path(a) / "model.safetensors"
    weights.touch()
    assert cache.get(a) is not first
    assert cache.names == (a,)


def test_a_model_that_was_deleted_is_given_up_and_no_other(models: list[str]) -> None:
    a, b, c = models
    cache = shelf_for(3, a)
    for each in models:
        cache.get(each)
    assert cache.drop_deleted() == ()
    shutil.rmtree(a)  # a job, or a checkpoint
    (Path(b) / "config.json").unlink()  # the model in an output directory, its checkpoints stay
    assert cache.drop_deleted() == (a, b)
    assert cache.names == (c,)


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    cache = model_cache_on(torch.device("cpu"), max_bytes=10**9, max_source_tokens=256)
    with pytest.raises(TrainingError, match=r"found no config\.json in it"):
        cache.get(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match="can't be loaded"):
        cache.get(str(tmp_path))


def test_a_model_reads_as_much_as_it_was_trained_to_and_no_more_than_it_may(
    talkative: Path, loaded: LoadedModel
) -> None:
    assert loaded.max_source_tokens == 256
    cache = model_cache_on(torch.device("cpu"), max_bytes=10**9, max_source_tokens=10_000)
    assert cache.get(str(talkative)).max_source_tokens == 2048

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flant5_train.arguments import (
    DataArguments,
    ModelArguments,
    TrainingArguments,
    parse_arguments,
)
from flant5_train.config import Hyperparameters, OnBadRecord, RunConfig, setting_without_effect

TORCHRUNS_OWN = {"num_gpus", "num_nodes"}


def test_each_hyperparameter_is_an_argument_of_the_trainer() -> None:
    groups = (ModelArguments, DataArguments, TrainingArguments)
    known = {field.name for group in groups for field in dataclasses.fields(group)}
    assert set(Hyperparameters.model_fields) - TORCHRUNS_OWN <= known


def test_a_written_run_is_read_back_by_the_trainer(tmp_path: Path) -> None:
    chosen = Hyperparameters(
        learning_rate=3e-4, warmup_ratio=0.25, num_train_epochs=2.5, on_bad_record=OnBadRecord.SKIP
    )
    config = RunConfig(
        model_name_or_path="flant5-demo",
        data_path=tmp_path / "talks.json",
        run_directory=tmp_path,
        cache_directory=tmp_path / "cache",
        models_directory=tmp_path / "models",
        seed=7,
        hyperparameters=chosen,
    )
    config.write(tmp_path / "run.json")
    parsed = parse_arguments([str(tmp_path / "run.json")])
    groups = (parsed.model, parsed.data, parsed.training)
    for name in set(Hyperparameters.model_fields) - TORCHRUNS_OWN:
        (owner,) = [group for group in groups if hasattr(group, name)]
        read = getattr(owner, name)
        assert (tuple(read) if isinstance(read, list) else read) == getattr(chosen, name), name
    assert parsed.training.warmup_steps == 0.25
    assert parsed.training.seed == 7
    assert parsed.training.output_dir == str(tmp_path / "output")
    assert parsed.training.record_directory == tmp_path
    assert parsed.data.cache_directory == str(tmp_path / "cache")


def test_an_unknown_field_of_a_run_is_refused(tmp_path: Path) -> None:
    run = {"data_path": "a", "output_dir": "b", "learning_rat": 1}
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match="learning_rat"):
        parse_arguments([str(tmp_path / "run.json")])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("num_train_epochs", -1),
        ("max_steps", 0),
        ("per_device_train_batch_size", 1.5),
        ("num_gpus", 0),
        ("tokenization", "bpe"),
        ("finetuning_type", "adapter"),
        ("lora_rank", 0),
        ("lora_target_modules", []),
        ("lora_target_modules", ["q", "query"]),
        ("fp16", True),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Hyperparameters.model_validate({name: value})


def test_a_hyperparameter_of_lora_is_refused_where_it_would_mean_nothing() -> None:
    with pytest.raises(ValidationError, match="lora_rank is 8, but finetuning_type is full"):
        Hyperparameters(lora_rank=8)
    Hyperparameters(lora_rank=16, finetuning_type="full")
    Hyperparameters(lora_rank=8, finetuning_type="lora")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"lr_scheduler_type": "constant", "warmup_ratio": 0.1}, "warmup_ratio"),
        ({"lr_scheduler_type": "constant", "warmup_ratio": 0.03}, "warmup_ratio"),
        ({"optim": "adafactor", "adam_beta1": 0.8}, "adam_beta1"),
        ({"optim": "adafactor", "adam_beta2": 0.8}, "adam_beta2"),
        ({"early_stopping_threshold": 0.1}, "early_stopping_threshold"),
    ],
)
def test_a_hyperparameter_that_does_nothing_beside_another_is_named(
    settings: dict[str, Any], name: str
) -> None:
    found = setting_without_effect(Hyperparameters(**settings))
    assert found is not None
    assert found[0] == name
    assert name in found[1]
    for field in settings:
        assert setting_without_effect(Hyperparameters(**{field: settings[field]})) is None or (
            field == "early_stopping_threshold"
        )


def test_what_the_service_adds_to_a_run_is_taken_by_the_trainer(tmp_path: Path) -> None:
    """The default of a warm-up beside a schedule that has none, a file beside a share."""
    config = RunConfig(
        model_name_or_path="flant5-demo",
        data_path=tmp_path / "talks.json",
        validation_file=tmp_path / "others.json",
        run_directory=tmp_path,
        cache_directory=tmp_path / "cache",
        models_directory=tmp_path / "models",
        hyperparameters=Hyperparameters(lr_scheduler_type="constant", validation_split=0.1),
    )
    config.write(tmp_path / "run.json")
    parsed = parse_arguments([str(tmp_path / "run.json")])
    assert parsed.training.warmup_steps == 0
    assert parsed.data.validation_split == 0
    assert parsed.training.accept_checkpoint == "unrecorded"

"""Two runs are the same when nothing that the trained weights depend on differs."""

import json
import shutil
from pathlib import Path

import pytest

from flant5_train.arguments import parse_arguments
from flant5_train.command_line.document import GROUPS
from flant5_train.model_card.card import RunMetadata
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.resume.identity import default_values, model_digest, record_of_run
from flant5_train.resume.record import RunRecord, SettingDifference, read_record
from tests.flant5_train.runs import some_examples

ANOTHER = {
    "tokenization": "fastchat",
    "finetuning_type": "lora",
    "lora_rank": "4",
    "lora_alpha": "3",
    "lora_dropout": "0.5",
    "lora_target_modules": "q",
    "validation_split": "0.25",
    "on_bad_record": "skip",
    "on_missing_question": "skip",
    "max_source_length": "40",
    "max_target_length": "40",
    "per_device_train_batch_size": "3",
    "gradient_accumulation_steps": "2",
    "num_train_epochs": "2",
    "max_steps": "7",
    "learning_rate": "0.5",
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": '{"num_cycles": 2}',
    "warmup_steps": "3",
    "optim": "adafactor",
    "optim_args": "momentum=0.5",
    "weight_decay": "0.1",
    "adam_beta1": "0.8",
    "adam_beta2": "0.8",
    "adam_epsilon": "0.1",
    "max_grad_norm": "0.5",
    "seed": "8",
    "full_determinism": "True",
    "bf16": "True",
    "tf32": "False",
    "torch_compile": "True",
    "load_best_model_at_end": "True",
    "model_max_length": "50",
    "batching": "padded",
    "early_stopping_patience": "2",
    "early_stopping_threshold": "0.5",
    "sharding": "fsdp",
}
BESIDE = {
    "optim_args": ("--optim", "sgd"),
    "early_stopping_threshold": ("--early_stopping_patience", "2"),
}
"""What an argument needs to be taken."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return some_examples(tmp_path / "talks.json", 4)


def record(tiny_model: Path, data: Path, *flags: str) -> RunRecord:
    basic = {"model_name_or_path": tiny_model, "data_path": data, "output_dir": data.parent / "out"}
    argv = [text for name, value in basic.items() for text in (f"--{name}", str(value))]
    arguments = parse_arguments([*argv, *flags])
    tokenizer = load_tokenizer(tiny_model, tokenization=arguments.model.tokenization)
    return record_of_run(arguments, RunMetadata.of(arguments), tokenizer=tokenizer, batch_plan=1)


def differences(before: RunRecord, now: RunRecord) -> dict[str, SettingDifference]:
    found = before.differences_to(now, defaults=default_values())
    return {each.name: each for each in found}


def test_each_argument_that_changes_the_result_has_another_value_in_this_test() -> None:
    known = {name for *_, rules in GROUPS for name, rule in rules.items() if rule.changes_result}
    assert known == set(ANOTHER)


@pytest.mark.parametrize("name", ANOTHER)
def test_another_value_is_another_run(
    tiny_model: Path, data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sharding is for processes that torchrun has started, and asks for their number.
    beside = BESIDE.get(name, ())
    before = record(tiny_model, data, *beside)
    found = differences(before, record(tiny_model, data, *beside, f"--{name}", ANOTHER[name]))
    limits = {"max_source_length", "max_target_length"}
    expected = {"model_max_length": {"model_max_length", *limits}, "tokenization": {name}}
    assert set(found) - {"encoding"} == expected.get(name, {name}) - (
        {"num_train_epochs"} if name != "max_steps" else set()
    ) | ({"num_train_epochs"} if name in ("max_steps", "num_train_epochs") else set())
    assert name in str(found[name])


@pytest.mark.parametrize(
    "flags",
    [
        ("--save_steps", "7"),
        ("--logging_steps", "3"),
        ("--eval_steps", "3"),
        ("--save_total_limit", "1"),
        ("--dataloader_num_workers", "2"),
        ("--gradient_checkpointing", "True"),
        ("--cache_directory", "elsewhere"),
        ("--max_source_length", "2048"),
        ("--accept_checkpoint", "changed"),
    ],
    ids=lambda flags: flags[0],
)
def test_a_value_that_the_result_does_not_depend_on_is_the_same_run(
    tiny_model: Path, data: Path, flags: tuple[str, str]
) -> None:
    assert not differences(record(tiny_model, data), record(tiny_model, data, *flags))


def test_a_new_layout_of_encoded_files_is_the_same_run_and_a_new_encoding_is_not(
    tiny_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = record(tiny_model, data)
    monkeypatch.setattr("flant5_train.data.cache.LAYOUT_VERSION", 1000)
    assert not differences(before, record(tiny_model, data))
    monkeypatch.setattr("flant5_train.resume.identity.ENCODING_VERSION", 1000)
    assert set(differences(before, record(tiny_model, data))) == {"encoding"}


@pytest.mark.parametrize(
    "choice", [("--early_stopping_patience", "2"), ("--load_best_model_at_end", "True")]
)
@pytest.mark.parametrize(
    ("flags", "same", "other"),
    [
        (("--eval_steps", "3"), ("--eval_strategy", "steps", "--eval_steps", "3"), "4"),
        (("--save_steps", "3"), ("--save_steps", "5", "--eval_steps", "3"), "4"),
        (("--eval_strategy", "epoch"), ("--eval_strategy", "epoch", "--eval_steps", "9"), None),
        (("--eval_delay", "3"), ("--eval_delay", "3.0"), None),
    ],
)
def test_the_times_of_evaluations_that_choose_the_weights_belong_to_the_run(
    tiny_model: Path,
    data: Path,
    choice: tuple[str, ...],
    flags: tuple[str, ...],
    same: tuple[str, ...],
    other: str | None,
) -> None:
    before = record(tiny_model, data, *choice, *flags)
    assert not differences(before, record(tiny_model, data, *choice, *same))
    changed = ("--eval_steps", other) if other else ()
    name = "eval_steps" if other else flags[0].removeprefix("--")
    assert name in differences(before, record(tiny_model, data, *choice, *changed))
    older = {name: value for name, value in before.identity.items() if "eval_" not in name}
    assert not differences(before.model_copy(update={"identity": older}), before)


def test_files_and_models_are_known_by_their_content(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    before = record(tiny_model, data, "--validation_file", str(data))
    moved = shutil.copy(data, tmp_path / "moved.json")
    model = shutil.copytree(tiny_model, tmp_path / "model")
    same = record(model, Path(moved), "--validation_file", str(moved))
    assert not differences(before, same)
    other = some_examples(tmp_path / "other.json", 3)
    found = differences(before, record(model, other, "--validation_file", str(other)))
    assert set(found) == {"training_data", "validation_data"}
    assert "talks.json (" in str(found["training_data"].before)
    assert "other.json (" in str(found["training_data"].now)


def test_a_model_is_another_one_when_its_weights_or_its_configuration_differ(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    before = model_digest(str(model))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"dropout_rate": 0.5}))
    other_config = model_digest(str(model))
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[len(weights) // 2 :] = bytes(len(weights) - len(weights) // 2)
    (model / "model.safetensors").write_bytes(weights)
    assert len({before, other_config, model_digest(str(model))}) == 3


def test_a_record_is_read_as_it_was_written(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    written = record(tiny_model, data)
    written.write(tmp_path)
    read = read_record(tmp_path)
    assert read is not None
    assert not differences(read, written)


def test_a_record_that_can_not_be_written_whole_leaves_the_one_before_it(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = record(tiny_model, data)
    written.write(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        written.model_copy(update={"flant5": "another"}).write(tmp_path)
    assert read_record(tmp_path) == written
    assert [path.name for path in tmp_path.glob("flant5_run*")] == ["flant5_run.json"]


def test_an_argument_that_a_version_did_not_know_had_its_default(
    tiny_model: Path, data: Path
) -> None:
    now = record(tiny_model, data)
    old = {name: value for name, value in now.identity.items() if name != "weight_decay"}
    before = now.model_copy(update={"identity": old})
    assert not differences(before, now)
    assert set(differences(before, record(tiny_model, data, "--weight_decay", "0.5"))) == {
        "weight_decay"
    }


def test_the_plan_of_the_batches_counts_where_nothing_else_differs(
    tiny_model: Path, data: Path
) -> None:
    before = record(tiny_model, data)
    other_plan = before.model_copy(update={"identity": {**before.identity, "batch_plan": 2}})
    assert set(differences(before, other_plan)) == {"batch_plan"}
    processes = {**other_plan.identity, "num_processes": 2}
    found = differences(before, before.model_copy(update={"identity": processes}))
    assert set(found) == {"num_processes"}

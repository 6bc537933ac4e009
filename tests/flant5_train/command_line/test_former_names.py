"""Names of FastChat and of older versions of transformers are read, or answered with today's."""

import json
from pathlib import Path
from typing import Any

import pytest

from flant5_train.arguments import Arguments, parse_arguments
from flant5_train.command_line.document import GROUPS
from flant5_train.command_line.former_names import FORMER_NAMES
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.training.run import parse_run

FASTCHAT = """--bf16 False --num_train_epochs 3 --per_device_train_batch_size 1
 --per_device_eval_batch_size 2 --gradient_accumulation_steps 4 --evaluation_strategy no
 --save_strategy steps --save_steps 300 --save_total_limit 1 --learning_rate 2e-5 --weight_decay 0.
 --warmup_ratio 0.03 --lr_scheduler_type cosine --logging_steps 1
 --fsdp_transformer_layer_cls_to_wrap T5Block --model_max_length 2048
 --preprocessed_path ./encoded/talks.json --gradient_checkpointing True --lazy_preprocess True"""


def parsed(*flags: str) -> Arguments:
    return parse_arguments(["--data_path", "x", "--output_dir", "y", *flags])


def test_no_name_of_today_is_a_former_one() -> None:
    today = {name for *_, rules in GROUPS for name in rules}
    assert not today & set(FORMER_NAMES)
    assert {each.new for each in FORMER_NAMES.values() if each.new} <= today


def test_the_command_of_fastchat_is_read(caplog: pytest.LogCaptureFixture) -> None:
    arguments = parsed(*FASTCHAT.split())
    assert arguments.training.forbids_evaluations
    assert arguments.training.activation_checkpointing is True
    assert arguments.training.warmup_steps == 0.03
    assert arguments.data.cache_directory == str(Path("encoded").absolute())
    assert "evaluation_strategy=no is read as eval_strategy=no" in caplog.text
    assert "fsdp_transformer_layer_cls_to_wrap=T5Block is ignored" in caplog.text
    assert "a file that FastChat wrote isn't read" in caplog.text


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (("--no_cuda",), "use_cpu", True),
        (("--no-cuda", "True"), "use_cpu", True),
        (("--per_gpu_train_batch_size", "3"), "per_device_train_batch_size", 3),
        (("--per_gpu_eval_batch_size=5",), "per_device_eval_batch_size", 5),
        (("--evaluation_strategy", "epoch"), "eval_strategy", "epoch"),
        (("--adafactor", "true"), "optim", "adafactor"),
        (("--adafactor", "false"), "optim", "adamw_torch_fused"),
        (("--group_by_length", "True"), "batching", "bucketed"),
    ],
)
def test_a_former_name_is_read_as_todays(flags: tuple[str, ...], name: str, value: object) -> None:
    assert getattr(parsed(*flags).training, name) == value


@pytest.mark.parametrize("name", [name for name, each in FORMER_NAMES.items() if not each.new])
def test_what_is_gone_is_refused_with_what_to_use_instead(name: str) -> None:
    former = FORMER_NAMES[name]
    flags = (f"--{name}", "something")
    if "*" in former.harmless:
        parsed(*flags)
        return
    with pytest.raises(TrainingError) as caught:
        parse_run(["--data_path", "x", "--output_dir", "y", *flags])
    assert caught.value.code is FailureCode.BAD_CONFIG
    assert former.note in str(caught.value)
    assert name in str(caught.value)
    if name.endswith("token"):
        assert "something" not in str(caught.value)
    for harmless in former.harmless:
        if harmless:
            parsed(f"--{name}", harmless)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("evaluation_strategy", "epoch", ("eval_strategy", "epoch")),
        ("no_cuda", True, ("use_cpu", True)),
        ("overwrite_output_dir", False, None),
        ("logging_dir", None, None),
    ],
)
def test_fields_of_a_run_are_read_by_the_same_names(
    tmp_path: Path, name: str, value: object, found: tuple[str, Any] | None
) -> None:
    arguments = read(tmp_path, {name: value})
    if found is not None:
        assert getattr(arguments.training, found[0]) == found[1]


def read(tmp_path: Path, fields: dict[str, object]) -> Arguments:
    run = {"data_path": "a", "output_dir": "b", **fields}
    (tmp_path / "run.json").write_text(json.dumps(run))
    return parse_arguments([str(tmp_path / "run.json")])


CONTRADICTIONS: list[dict[str, object]] = [
    {"eval_strategy": "epoch", "evaluation_strategy": "no"},
    {"evaluation_strategy": "no", "evaluate_during_training": "True"},
    {"q_lora": "True", "finetuning_type": "full"},
    {"group_by_length": "True", "batching": "padded"},
    {"adafactor": "True", "optim": "adamw_torch"},
    {"no_cuda": "True", "use_cpu": "False"},
    {"per_gpu_train_batch_size": "3", "per_device_train_batch_size": "4"},
    {"lora_r": "3", "lora_rank": "4"},
    {"train_file": "c", "data_path": "C"},
    {"preprocessed_path": "c/x.json", "cache_directory": "d"},
]


@pytest.mark.parametrize("fields", CONTRADICTIONS, ids=" ".join)
def test_two_names_of_one_argument_with_different_values_are_refused(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    for given in (fields, dict(reversed(fields.items()))):
        with pytest.raises(ValueError, match="contradict each other") as caught:
            read(tmp_path, given)
        assert all(name in str(caught.value) for name in given)
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        with pytest.raises(ValueError, match="contradict each other"):
            parse_arguments(["--output_dir", "y", *flags])


def test_a_contradiction_shows_both_names_and_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contradict") as caught:
        read(tmp_path, {"eval_strategy": "epoch", "evaluation_strategy": "no"})
    assert str(caught.value) == (
        "eval_strategy=epoch and evaluation_strategy (eval_strategy=no) contradict each other;"
        " expected one of them"
    )


def test_two_names_of_one_argument_may_agree_and_a_later_flag_counts(tmp_path: Path) -> None:
    both = {"q_lora": True, "finetuning_type": "qlora", "no_cuda": True, "use_cpu": "1"}
    assert read(tmp_path, both).model.finetuning_type == "qlora"
    assert parsed("--q_lora", "True", "--finetuning_type", "qlora").model.finetuning_type == "qlora"
    assert parsed("--seed", "1", "--seed", "2").training.seed == 2


SWITCHES = [name for name, each in FORMER_NAMES.items() if each.value is not None]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", ["maybe", "2", "on", "none"])
def test_a_former_switch_is_true_or_false(tmp_path: Path, name: str, value: str) -> None:
    message = f"{name} is '{value}'; expected true or false"
    with pytest.raises(ValueError, match=message):
        parsed(f"--{name}", value)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {name: value})


@pytest.mark.parametrize("value", [True, 1, "true", "Yes", "1"])
def test_a_former_switch_may_be_on_in_json(tmp_path: Path, value: object) -> None:
    assert read(tmp_path, {"group_by_length": value}).training.batching == "bucketed"


@pytest.mark.parametrize("value", [False, 0, None, "false", "No", "0"])
def test_a_former_switch_may_be_off_in_json(tmp_path: Path, value: object) -> None:
    assert read(tmp_path, {"group_by_length": value}).training.batching == "packed"


@pytest.mark.parametrize(
    ("name", "value"),
    [("save_safetensors", False), ("save_safetensors", 0), ("max_train_samples", 0)],
)
def test_a_value_of_json_that_is_false_or_zero_is_no_missing_one(
    tmp_path: Path, name: str, value: object
) -> None:
    message = f"{name} is '{value}', which this trainer does not support"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {name: value})


@pytest.mark.parametrize("value", [True, 1, None, "true"])
def test_safetensors_may_be_asked_for_in_json(tmp_path: Path, value: object) -> None:
    read(tmp_path, {"save_safetensors": value})


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--learning_rat",
            "learning_rat is not an argument of this trainer; did you mean learning_ra",
        ),
        ("--zzzzzz", "zzzzzz is not an argument of this trainer; `--help` lists all"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(flag: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed(flag, "1")

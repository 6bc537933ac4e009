"""Each field of the argument classes is followed, or refused with the reason: none is taken and
does nothing."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import transformers

from flant5_train.arguments import TrainingArguments, parse_arguments
from flant5_train.command_line.document import GROUPS, tables
from flant5_train.command_line.rules import HUGGING_FACE, OWN_TRAINING
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.training.run import parse_run
from tests.flant5_train.conftest import REPOSITORY

REFUSED = [name for name, rule in HUGGING_FACE.items() if not rule.is_honoured]


def fields_of(arguments: Any) -> dict[str, Any]:
    return {field.name: field for field in dataclasses.fields(arguments) if field.init}


def parsed(*flags: str) -> TrainingArguments:
    return parse_arguments(["--data_path", "x", "--output_dir", "y", *flags]).training


def test_each_field_of_transformers_has_a_rule() -> None:
    assert set(fields_of(transformers.TrainingArguments)) == set(HUGGING_FACE)


def test_each_field_of_our_own_classes_has_a_rule() -> None:
    known: dict[type, set[str]] = {}
    for _, arguments, rules in GROUPS:
        known.setdefault(arguments, set()).update(rules)
    for arguments, names in known.items():
        assert set(fields_of(arguments)) == names


def test_the_page_of_arguments_shows_the_rules() -> None:
    page = (REPOSITORY / "docs" / "trainer-arguments.md").read_text(encoding="utf-8")
    assert page.endswith(tables()), "run `python -m flant5_train.command_line.document`"


def another_value(name: str) -> object:
    """A value that is not the field's default, of the type that it is parsed to."""
    field = fields_of(TrainingArguments)[name]
    if isinstance(field.default, bool):
        return not field.default
    if isinstance(field.default, int | float):
        return field.default + 1
    return ["x"] if name in ("include_for_metrics", "label_names") else "another"


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_trainer_does_not_follow_is_refused_with_the_reason(name: str) -> None:
    arguments: Any = {"output_dir": "y", name: another_value(name)}
    with pytest.raises(TrainingError) as caught:
        TrainingArguments(**arguments)
    assert (caught.value.code, caught.value.param) == (FailureCode.BAD_CONFIG, name)
    rule = HUGGING_FACE[name]
    assert str(caught.value).endswith(rule.note)
    if rule.is_secret:
        assert "another" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--logging_strategy", "no"), "logging_strategy is 'no'; expected steps or epoch"),
        (("--save_strategy", "best"), "save_strategy is 'best'; expected steps or epoch or no"),
        (("--fsdp", "shard_grad_op"), "fsdp is 'shard_grad_op'; expected full_shard or"),
        (("--fsdp", "full_shard offload"), "fsdp is 'full_shard offload'"),
        (("--debug", "underflow_overflow"), "debug is"),
        (
            ("--validation_file", "a.json", "--validation_split", "0.1"),
            "validation_split is 0.1, but there is a validation_file",
        ),
        (("--adam_beta1", "0.8", "--optim", "adafactor"), "adam_beta1 is 0.8, but optim is"),
        (("--adam_epsilon", "0.1", "--optim", "sgd"), "adam_epsilon is 0.1, but optim is sgd"),
        (("--optim_args", "a=1"), "optim_args is 'a=1', but optim is adamw_torch_fused"),
        (("--warmup_ratio", "0.1", "--warmup_steps", "5"), "expected one of them"),
        (
            ("--lr_scheduler_type", "constant", "--warmup_ratio", "0.1"),
            "warmup_ratio is 0.1, but lr_scheduler_type is constant",
        ),
        (
            ("--lr_scheduler_type", "constant", "--warmup_steps", "9"),
            "warmup_steps is 9.0, but lr_scheduler_type is constant",
        ),
        (("--early_stopping_threshold", "0.1"), "early_stopping_patience is 0"),
        (("--run_name", "mine"), "run_name is 'mine', but report_to is none"),
        (
            ("--gradient_checkpointing_kwargs", '{"use_reentrant": false}'),
            "activation_checkpointing is off",
        ),
        (("--save_total_limit", "0"), "save_total_limit is 0; expected at least 1"),
        (("--local_rank", "3"), "local_rank is 3, but this process was started as local rank 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_value_that_would_do_nothing_is_refused(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        parse_run(["--data_path", "x", "--output_dir", "y", *flags])
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted({*HUGGING_FACE, *OWN_TRAINING} - {"output_dir"}))
def test_a_default_that_is_written_out_is_taken(name: str) -> None:
    default = fields_of(TrainingArguments)[name].default
    if default is dataclasses.MISSING or default is None or default == "":
        return
    parsed(f"--{name}", str(getattr(default, "value", default)))


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("include_num_input_tokens_seen", "False"),
        ("include_num_input_tokens_seen", "no"),
        ("metric_for_best_model", "eval_loss"),
        ("greater_is_better", "False"),
        ("report_to", "none"),
        ("save_total_limit", "1"),
        ("eval_strategy", "no"),
        ("do_train", "True"),
        ("local_rank", "0"),
    ],
)
def test_a_value_that_means_the_default_is_taken(flag: str, value: str) -> None:
    parsed(f"--{flag}", value)


def test_a_bad_value_is_named_without_a_usage_of_two_hundred_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"--max_steps.*invalid int value: 'many'"):
        parsed("--max_steps", "many")
    assert "usage" not in capsys.readouterr().err

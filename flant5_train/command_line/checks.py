"""Refuses arguments that would have no effect on a run."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flant5_train.command_line.rules import HUGGING_FACE, OWN_TRAINING, Rule
from flant5_train.process import local_rank
from flant5_train.protocol.failure import FailureCode, TrainingError

_RULES = {**HUGGING_FACE, **OWN_TRAINING}
_MOMENTS = ("adam_beta1", "adam_beta2", "adam_epsilon")
_WITH_MOMENTS = ("adam", "lion", "apollo")
"""Parts of the names of optimizers that use adam_*."""


def refuse_without_effect(training: Any) -> None:
    """Raises TrainingError for the first argument that would have no effect. Call it with the given
    values, before any is derived from another."""
    for name, message in _faults(training):
        raise TrainingError(FailureCode.BAD_CONFIG, message, param=name)


def _faults(training: Any) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(training):
        rule = _RULES.get(field.name)
        if rule is not None and field.init:
            value = getattr(training, field.name)
            if not _passes(rule, value, default=_default(field)):
                yield field.name, _refusal(field.name, rule, value)
    yield from _faults_beside_others(training)


def _passes(rule: Rule, value: object, *, default: object) -> bool:
    # The parser sets None for a list that was not given.
    if value is None or _plain(value) == _plain(default):
        return True
    if not rule.values:
        return rule.is_honoured
    allowed = {each.lower() for each in rule.values}
    parts = value if isinstance(value, list | tuple) else [value]
    return all(str(_plain(part)).lower() in allowed for part in parts)


def _refusal(name: str, rule: Rule, value: object) -> str:
    found = "set" if rule.is_secret else repr(_plain(value))
    if rule.is_honoured:
        expected = " or ".join(each for each in rule.values if each)
        return f"{name} is {found}; expected {expected} ({rule.note})"
    return f"{name} is {found}, which this trainer refuses: {rule.note}"


def _faults_beside_others(given: Any) -> Iterator[tuple[str, str]]:
    """Yields arguments that have no effect because of another argument's value."""
    yield from _optimizer_faults(given)
    yield from _warm_up_faults(given)
    if given.early_stopping_threshold and not given.early_stopping_patience:
        yield (
            "early_stopping_threshold",
            f"early_stopping_threshold is {given.early_stopping_threshold}, but"
            " early_stopping_patience is 0, so training never stops early; expected a patience of"
            " at least 1",
        )
    if given.run_name and given.report_to in (None, "none", [], ["none"]):
        yield (
            "run_name",
            f"run_name is {given.run_name!r}, but report_to is none, so no tracker shows it;"
            " expected a tracker in report_to, or no run_name",
        )
    recomputes = given.activation_checkpointing or given.gradient_checkpointing
    for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        if getattr(given, name) and not recomputes:
            yield (
                name,
                f"{name} is set, but activation_checkpointing is off; expected"
                " activation_checkpointing true",
            )
    if given.save_total_limit is not None and given.save_total_limit < 1:
        yield (
            "save_total_limit",
            f"save_total_limit is {given.save_total_limit}; expected at least 1, or no limit, which"
            " keeps all checkpoints",
        )
    if given.local_rank not in (None, -1, local_rank()):
        yield (
            "local_rank",
            f"local_rank is {given.local_rank}, but this process was started as local rank"
            f" {local_rank()}; expected torchrun to start the trainer",
        )


def _optimizer_faults(given: Any) -> Iterator[tuple[str, str]]:
    optimizer = str(_plain(given.optim))
    defaults = {field.name: _default(field) for field in dataclasses.fields(given)}
    for name in _MOMENTS:
        is_followed = any(part in optimizer for part in _WITH_MOMENTS)
        if not is_followed and getattr(given, name) != defaults[name]:
            yield (
                name,
                f"{name} is {getattr(given, name)}, but optim is {optimizer}, which does not use"
                " it; expected a variant of AdamW, or no such argument",
            )
    if given.optim_args and optimizer.startswith(("adamw_torch", "adafactor")):
        yield (
            "optim_args",
            f"optim_args is {given.optim_args!r}, but optim is {optimizer}, which does not use it;"
            " expected adam_beta1, adam_beta2, adam_epsilon and weight_decay",
        )


def _warm_up_faults(given: Any) -> Iterator[tuple[str, str]]:
    if given.warmup_ratio and given.warmup_steps not in (0, given.warmup_ratio):
        yield (
            "warmup_steps",
            f"warmup_steps is {given.warmup_steps} and warmup_ratio is {given.warmup_ratio};"
            " expected one of them",
        )
    name = "warmup_ratio" if given.warmup_ratio else "warmup_steps"
    if getattr(given, name) and _plain(given.lr_scheduler_type) == "constant":
        yield (
            name,
            f"{name} is {getattr(given, name)}, but lr_scheduler_type is constant, which has"
            " no warm-up; expected lr_scheduler_type constant_with_warmup, or no warm-up",
        )


def _default(field: "dataclasses.Field[Any]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: object) -> object:
    """Returns the value of an enum member, as written on a command line."""
    return getattr(value, "value", value)

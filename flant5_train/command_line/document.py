"""Tables in docs/trainer-arguments.md: `python -m flant5_train.command_line.document`."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flant5_train.arguments import DataArguments, ModelArguments, TrainingArguments
from flant5_train.command_line.former_names import FORMER_NAMES, FormerName
from flant5_train.command_line.rules import DATA, HUGGING_FACE, MODEL, OWN_TRAINING, Rule, Rules

GROUPS: tuple[tuple[str, type, Rules], ...] = (
    ("Model", ModelArguments, MODEL),
    ("Data", DataArguments, DATA),
    ("Training, of this trainer", TrainingArguments, OWN_TRAINING),
    ("Training, of `transformers.TrainingArguments`", TrainingArguments, HUGGING_FACE),
)


def tables() -> str:
    """Returns the generated part of the page."""
    parts: list[str] = []
    for title, arguments, rules in GROUPS:
        parts += [f"## {title}", "\n".join(_table(arguments, rules))]
    return "\n\n".join([*parts, "## Former names", "\n".join(_former_table())]) + "\n"


def _table(arguments: Any, rules: Rules) -> Iterator[str]:
    yield "| argument | default | | record |"
    yield "|---|---|---|---|"
    fields = {field.name: field for field in dataclasses.fields(arguments)}
    for name, rule in rules.items():
        yield f"| `{name}` | {_default(fields[name])} | {_effect(rule)} | {_record(rule)} |"


def _effect(rule: Rule) -> str:
    if not rule.is_honoured:
        return f"**refused**: {rule.note}"
    values = " or ".join(f"`{value}`" for value in rule.values)
    return f"{rule.note} ({values})" if values else rule.note


def _record(rule: Rule) -> str:
    return "yes" if rule.changes_result else ""


def _default(field: "dataclasses.Field[Any]") -> str:
    value = field.default
    if value is dataclasses.MISSING or value is None or value == "":
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _former_table() -> Iterator[str]:
    yield "| name | |"
    yield "|---|---|"
    for name, former in FORMER_NAMES.items():
        yield f"| `{name}` | {_answer(former)} |"


def _answer(former: FormerName) -> str:
    note = f" ({former.note})" if former.note and former.new else ""
    if former.new is not None:
        value = f" {former.value}" if former.value else ""
        return f"read as `{former.new}{value}`{note}"
    if "*" in former.harmless:
        return f"ignored: {former.note}"
    harmless = " or ".join(f"`{value}`" for value in former.harmless if value)
    return f"refused ({harmless} is ignored): {former.note}"


if __name__ == "__main__":
    print(tables(), end="")  # noqa: T201 - its output is the table

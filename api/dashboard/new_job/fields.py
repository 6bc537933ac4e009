"""Form fields derived from a pydantic model: names, ranges, choices, help."""

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from api.dashboard.number_range import NumberRange

Kind = Literal["text", "whole", "fraction", "switch", "choice", "choices"]
Value = str | int | float | bool | tuple[str, ...] | None

_KINDS: dict[object, Kind] = {bool: "switch", int: "whole", float: "fraction", str: "text"}


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form."""

    name: str
    kind: Kind
    default: Value
    is_optional: bool
    """The field may be left empty."""
    choices: tuple[str, ...]
    range: NumberRange
    help: str

    @property
    def title(self) -> str:
        """
        >>> from flant5_train.config import Hyperparameters
        >>> {field.name: field.title for field in fields_of(Hyperparameters)}["num_gpus"]
        'num gpus'
        """
        return self.name.replace("_", " ")

    def read(self, text: str) -> Value:
        """Parses a value from an address; returns the default if it has the wrong type.

        Ranges are checked when the job is validated.
        """
        try:
            if self.kind == "whole":
                return int(text)
            if self.kind == "fraction":
                return float(text)
        except ValueError:
            return self.default
        if self.kind == "switch":
            return text == "true"
        if self.kind == "choice":
            return text if text in self.choices else self.default
        if self.kind == "choices":
            return tuple(each for each in text.split(",") if each in self.choices)
        return text

    @staticmethod
    def written(value: Value) -> str:
        """Formats a value for an address."""
        if isinstance(value, tuple):
            return ",".join(value)
        return value if isinstance(value, str) else json.dumps(value)


def fields_of(model: type[BaseModel]) -> tuple[FormField, ...]:
    """Returns the fields a form can show, in model order, without mappings and object lists."""
    found = (_field(name, info) for name, info in model.model_fields.items())
    return tuple(field for field in found if field is not None)


def _field(name: str, info: FieldInfo) -> FormField | None:
    inner, is_optional = _inner(info.annotation)
    kind, choices = _kind_of(inner)
    if kind is None:
        return None
    default = None if info.is_required() else info.default
    return FormField(
        name=name,
        kind=kind,
        default=default.value if isinstance(default, StrEnum) else default,
        is_optional=is_optional,
        choices=choices,
        range=NumberRange.of(info.metadata),
        help=" ".join((info.description or "").replace("`", "").split()),
    )


def _inner(annotation: Any) -> tuple[Any, bool]:
    """Returns `X` of `X | None`, and True if `None` is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [each for each in get_args(annotation) if each is not type(None)]
        return (inner[0] if len(inner) == 1 else None), len(inner) < len(get_args(annotation))
    return annotation, False


def _kind_of(annotation: Any) -> tuple[Kind | None, tuple[str, ...]]:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice", tuple(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "choice", tuple(member.value for member in annotation)
    if origin is tuple:
        _, choices = _kind_of(get_args(annotation)[0])
        return ("choices", choices) if choices else (None, ())
    return (_KINDS.get(annotation) if isinstance(annotation, type) else None), ()


def request_of(
    values: Mapping[str, Value], *, hyperparameters: Mapping[str, FormField]
) -> dict[str, object]:
    """Returns the body of a create request with the values that were filled in."""
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    tuned = {name: value for name, value in given.items() if name in hyperparameters}
    rest: dict[str, object] = {name: given[name] for name in given if name not in tuned}
    if tuned:
        rest["method"] = {"type": "supervised", "supervised": {"hyperparameters": tuned}}
    return rest

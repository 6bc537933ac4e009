"""Form fields derived from a pydantic model, and their widgets.

Names, choices, help and number ranges come from the model. The ranges are read from pydantic's
metadata.
"""

import json
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement
from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A range whose limits may be exclusive."""

    least: float | None = None
    most: float | None = None
    excludes_least: bool = False
    excludes_most: bool = False

    @classmethod
    def of(cls, metadata: Iterable[object]) -> Self:
        """Returns the range in the metadata of a pydantic field."""
        found: dict[str, float | bool] = {}
        for each in metadata:
            if isinstance(each, Ge | Gt):
                least = each.ge if isinstance(each, Ge) else each.gt
                found |= {"least": float(least), "excludes_least": isinstance(each, Gt)}  # type: ignore[arg-type]
            elif isinstance(each, Le | Lt):
                most = each.le if isinstance(each, Le) else each.lt
                found |= {"most": float(most), "excludes_most": isinstance(each, Lt)}  # type: ignore[arg-type]
        return cls(**found)  # type: ignore[arg-type]

    def __contains__(self, value: float) -> bool:
        is_high_enough = self.least is None or (
            value >= self.least if not self.excludes_least else value > self.least
        )
        is_low_enough = self.most is None or (
            value <= self.most if not self.excludes_most else value < self.most
        )
        return is_high_enough and is_low_enough

    def __str__(self) -> str:
        """Describes the range; '' without limits.

        >>> [str(NumberRange(*limits)) for limits in ((0, 1), (0, 1, True), (0, 1, False, True))]
        ['0 to 1', 'above 0, to 1', '0 to below 1']
        >>> [str(NumberRange(*limits)) for limits in ((1,), (0, None, True), (None, 9), ())]
        ['at least 1', 'above 0', 'at most 9', '']
        """
        if self.least is None or self.most is None:
            return self._low or self._high
        if self.excludes_least:
            return f"above {self.least:g}, {self._end}"
        return f"{self.least:g} {self._end}"

    @property
    def _low(self) -> str:
        if self.least is None:
            return ""
        return f"{'above' if self.excludes_least else 'at least'} {self.least:g}"

    @property
    def _high(self) -> str:
        if self.most is None:
            return ""
        return f"{'below' if self.excludes_most else 'at most'} {self.most:g}"

    @property
    def _end(self) -> str:
        return f"to {'below ' if self.excludes_most else ''}{self.most:g}"


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

    def parse(self, text: str) -> Value:
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
    def to_text(value: Value) -> str:
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


OnChange = Callable[[FormField, Value], object]


def field_view(field: FormField, value: Value, on_change: OnChange) -> None:
    """Draws one field with its help text. `on_change` is called when the value changes."""
    with ui.element("div").classes("field"):
        element = _element(field, value)
        element.props(f'outlined dense aria-label="{field.name}"').classes("field-input")
        element.on_value_change(lambda event: on_change(field, _value(field, event.value)))
        if field.help:
            ui.label(field.help).classes("quiet")


def _element(field: FormField, value: Value) -> ValueElement[Any]:
    title = field.title
    if field.kind == "switch":
        return ui.switch(title, value=bool(value))
    if field.kind == "choice":
        return ui.select(list(field.choices), label=title, value=value)
    if field.kind == "choices":
        chosen = list(value) if isinstance(value, tuple) else []
        return ui.select(list(field.choices), label=title, value=chosen, multiple=True)
    if field.kind == "text":
        return ui.input(title, value="" if value is None else str(value)).props("debounce=400")
    number = value if isinstance(value, int | float) else None
    hint = str(field.range) + ("; empty for the default" if field.is_optional else "")
    box = ui.number(title, value=number, validation=_check(field)).props("debounce=400")
    return box.props(f'hint="{hint}" step={1 if field.kind == "whole" else "any"}')


def _check(field: FormField) -> Callable[[float | None], str | None]:
    def fault(value: float | None) -> str | None:
        if value is None:
            return None if field.is_optional else f"expected a number, {field.range}"
        is_broken = field.kind == "whole" and not float(value).is_integer()
        if is_broken or value not in field.range:
            kind = "a whole number, " if field.kind == "whole" else ""
            return f"found {value:g}; expected {kind}{field.range}"
        return None

    return fault


def _value(field: FormField, value: object) -> Value:
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    if field.kind == "whole" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | None) else str(value)

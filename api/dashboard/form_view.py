"""Widgets for form fields."""

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from api.dashboard.new_job.fields import FormField, Value

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

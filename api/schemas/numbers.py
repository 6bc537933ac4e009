"""Validation of JSON numbers."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def without_booleans_for_numbers(model: type[BaseModel], data: Any) -> Any:
    """Replaces booleans in number fields by the text "true" or "false", so that pydantic rejects
    them. It would otherwise convert them to 1 or 0."""
    if not isinstance(data, dict):
        return data
    return {
        name: str(value).lower() if isinstance(value, bool) and _is_number(model, name) else value
        for name, value in data.items()
    }


def _is_number(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    if field is None:
        return False
    is_union = get_origin(field.annotation) in (Union, UnionType)
    kinds = set(get_args(field.annotation)) if is_union else {field.annotation}
    return bool(kinds & {int, float}) and bool not in kinds

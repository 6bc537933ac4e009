"""Converts pydantic's validation errors to messages for callers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from worker.jobs.errors import did_you_mean

_SECTIONS = frozenset({"body", "query", "path", "header"})
_MAX_INPUT_LENGTH = 80
_MAX_FAULTS = 5


def format_validation_error(
    error: RequestValidationError | ValidationError,
    *,
    model: type[BaseModel] | None = None,
    prefix: str = "",
) -> tuple[str, str | None]:
    """Returns the message and the dotted name of the first invalid field.

    With the `model` of the body, the message for an unknown field suggests the nearest known one.

    >>> from worker.jobs.job import JobSpec
    >>> try: JobSpec(model="flant5-demo", training_file="f", seed=-1)
    ... except ValidationError as error: format_validation_error(error)
    ('seed: input should be greater than or equal to 0, got -1', 'seed')
    """
    faults = [
        *_one_of_each_message(_Fault(it, prefix=prefix, model=model) for it in error.errors())
    ]
    sentences = [fault.sentence for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        sentences.append(f"and {len(faults) - _MAX_FAULTS} more")
    return "; ".join(sentences), faults[0].field or None


def _one_of_each_message(faults: Iterable["_Fault"]) -> Iterator["_Fault"]:
    """Yields only the first fault of each chat message, as the check of conversation files does."""
    seen: set[str] = set()
    for fault in faults:
        message = re.match(r"messages\.\d+(?=\.|$)", fault.field)
        if message is None or message[0] not in seen:
            yield fault
        if message is not None:
            seen.add(message[0])


class _Fault:
    def __init__(
        self, details: Mapping[str, Any], *, prefix: str, model: type[BaseModel] | None
    ) -> None:
        # A name may contain half a surrogate pair, which a response can't encode.
        location = [
            str(part).encode("utf-8", "backslashreplace").decode() for part in details["loc"]
        ]
        if location and location[0] in _SECTIONS:
            location = location[1:]
        location = _without_tags(location, details["loc"])
        self._details = details
        self._known = _names_beside(location, model)
        self.field = ".".join([prefix, *location] if prefix else location)

    @property
    def sentence(self) -> str:
        kind, message = self._details["type"], str(self._details["msg"])
        if kind == "json_invalid":
            return f"the body is not JSON: {self._details['ctx']['error']} at {self.field}"
        if not self.field:
            return (
                f"the body: {_uncapitalized(message)}; expected a JSON object, sent with "
                "Content-Type: application/json"
            )
        if kind == "missing":
            return f"{self.field}: missing"
        if kind == "extra_forbidden":
            return (
                f"{self.field}: unknown field{did_you_mean(self.field.split('.')[-1], self._known)}"
            )
        if kind == "value_error":
            return f"{self.field}: {message.removeprefix('Value error, ')}"
        return f"{self.field}: {_uncapitalized(message)}, got {_shown(self._details['input'])}"


def _without_tags(location: list[str], found: Sequence[int | str]) -> list[str]:
    """Removes the integration type that pydantic inserts between its index and its fields.
    integrations.0.wandb.wandb.project -> integrations.0.wandb.project"""
    numbers = {str(part) for part in found if isinstance(part, int)}
    if location[:1] == ["integrations"] and len(location) > 2 and location[1] in numbers:
        return [*location[:2], *location[3:]]
    return location


def _names_beside(location: Sequence[str], model: type[BaseModel] | None) -> Iterable[str]:
    """Returns the fields of the model to which the last part of `location` belongs."""
    for part in location[:-1]:
        field = model.model_fields.get(part) if model else None
        model = _model_in(field.annotation) if field else None
    return model.model_fields if model else ()


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Returns the model in `Model` or `Model | None`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= _MAX_INPUT_LENGTH else text[:_MAX_INPUT_LENGTH] + "..."

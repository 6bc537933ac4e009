"""Schemas shared by several routes: errors, lists, deletions and request parameters.

The next page of a list starts after the id of the last item. JSON booleans are rejected as numbers.
"""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, Union, get_args, get_origin

from fastapi import Depends, Header, Path, Query
from pydantic import BaseModel, ConfigDict


class Error(BaseModel):
    """Details of an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    message: str
    """The problem, the value found, and the expected value."""
    type: str
    """`invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`."""
    param: str | None
    """The invalid field, as a dotted path."""
    code: str | None
    """The error class, for programs."""


class ErrorResponse(BaseModel):
    """The shape of every error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    error: Error
    """Details of the error."""


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


class Identified(BaseModel):
    """An item of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The id, also used as the cursor `after`."""


Item = TypeVar("Item", bound=Identified)


class ListPage(BaseModel, Generic[Item]):
    """A page of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    """Items of this page."""
    has_more: bool
    """True if another page follows."""
    first_id: str | None
    """Id of the first item; null if the page is empty."""
    last_id: str | None
    """Id of the last item: `after` of the next page."""

    @classmethod
    def of(cls, items: Sequence[Item], *, has_more: bool = False) -> Self:
        return cls(
            data=tuple(items),
            has_more=has_more,
            first_id=items[0].id if items else None,
            last_id=items[-1].id if items else None,
        )


MOST_ITEMS = "Maximum number of items in a page."

After = Annotated[
    str | None, Query(description="Cursor: id of the last known item. The page starts after it.")
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="Live streams only: id of the last received item. The stream starts after it.",
    ),
]
UploadId = Annotated[str, Path(description="The id of an upload.")]
ModelId = Annotated[str, Path(description="The id of a model. Its `/` may be raw or `%2F`.")]


def _is_retry(x_stainless_retry_count: Annotated[int, Header(include_in_schema=False)] = 0) -> bool:
    """Returns True if the SDK reports that it sent this request before."""
    return x_stainless_retry_count > 0


IsRetry = Annotated[bool, Depends(_is_retry)]


class _Deleted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The id of the deleted object."""
    deleted: Literal[True] = True
    freed_bytes: int
    """Total size of the removed files, in bytes."""


class JobDeleted(_Deleted):
    """The job was deleted, with its model, its checkpoints and its history."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"


class CheckpointDeleted(_Deleted):
    """The checkpoint was deleted. `id` is its former model id."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    step_number: int
    """The step at which it was saved."""


class ModelDeleted(_Deleted):
    """The fine-tuned model was deleted. Its job stays."""

    object: Literal["model"] = "model"


class FileDeleted(_Deleted):
    """The file was deleted."""

    object: Literal["file"] = "file"

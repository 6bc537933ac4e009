"""The shape of every list: the next page begins after the id of the last item."""

from collections.abc import Sequence
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict


class Identified(BaseModel):
    """What can stand in a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Also the cursor: the next page begins after it."""


Item = TypeVar("Item", bound=Identified)


class ListPage(BaseModel, Generic[Item]):
    """A part of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    """The items of this page."""
    has_more: bool
    """Whether another page follows; it is what ends a client's loop."""
    first_id: str | None
    """Id of its first item; null when there is none."""
    last_id: str | None
    """What `after` of the next page is to be."""

    @classmethod
    def of(cls, items: Sequence[Item], *, has_more: bool = False) -> Self:
        return cls(
            data=tuple(items),
            has_more=has_more,
            first_id=items[0].id if items else None,
            last_id=items[-1].id if items else None,
        )

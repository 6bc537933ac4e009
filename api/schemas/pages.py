"""Schema of lists. The next page starts after the id of the last item."""

from collections.abc import Sequence
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict


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

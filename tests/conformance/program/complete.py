"""Typed objects and pages as the SDK's own models want them.

The SDK builds its objects without looking at what comes: a missing field is an AttributeError much
later, a wrong type is handed on. Here its models are asked to check.
"""

from collections.abc import Callable, Iterable
from typing import Any


def complete(thing: Any, *, of: str) -> Any:
    """The same object; every field that its model requires is there, each value has its type."""
    assert type(thing).__name__ == of, f"expected a {of}, found {type(thing).__name__}: {thing!r}"
    type(thing).model_validate(thing.to_dict(mode="python", warnings=False), strict=True)
    return thing


def all_of(call: Callable[..., Any], *, of: str, limit: int, **query: Any) -> list[Any]:
    """Everything, by pages of this size. The walk ends, no item comes twice, none is left out."""
    page = call(limit=limit, **query)
    assert isinstance(page.has_more, bool), page
    items = [complete(item, of=of) for item in _walked(page)]
    ids = [item.id for item in items]
    assert len(set(ids)) == len(ids), ids
    assert ids == [item.id for item in call(limit=100, **query).data], ids
    assert page.has_more is (len(ids) > limit)
    return items


def _walked(page: Iterable[Any], *, most: int = 1000) -> Iterable[Any]:
    for number, item in enumerate(page):
        assert number < most, "the pages do not end"
        yield item

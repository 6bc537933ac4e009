"""The strict look at typed objects and pages sees what the SDK itself lets through."""

from typing import Any

import pytest
from openai.pagination import SyncCursorPage
from openai.types import FileDeleted

from tests.conformance.program.complete import all_of, complete

GOOD: dict[str, Any] = {"id": "file-1", "object": "file", "deleted": True}


def test_a_whole_object_comes_back() -> None:
    deleted = FileDeleted.construct(**GOOD)
    assert complete(deleted, of="FileDeleted") is deleted


@pytest.mark.parametrize(
    ("field", "value"), [("id", 1), ("deleted", "true"), ("object", "fil"), ("id", None)]
)
def test_a_wrong_or_missing_field_is_seen(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        complete(FileDeleted.construct(**GOOD | {field: value}), of="FileDeleted")
    lacking = {name: each for name, each in GOOD.items() if name != field}
    with pytest.raises(ValueError, match="Field required"):
        complete(FileDeleted.construct(**lacking), of="FileDeleted")


def test_an_item_that_comes_twice_is_seen() -> None:
    item = FileDeleted.construct(**GOOD)
    page = SyncCursorPage[FileDeleted].construct(data=[item, item], has_more=False)
    with pytest.raises(AssertionError):
        all_of(lambda **_: page, of="FileDeleted", limit=2)

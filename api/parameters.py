"""Request parameters shared by several routes."""

from typing import Annotated

from fastapi import Depends, Header, Path, Query

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

"""Parameters that routes share."""

from typing import Annotated

from fastapi import Depends, Header, Path, Query

MOST_ITEMS = "Most items of a page."

After = Annotated[
    str | None, Query(description="Id of the last item that is known; the page begins behind it.")
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="Of a live stream: id of the last item that came; the stream begins behind it.",
    ),
]
UploadId = Annotated[str, Path(description="The id of an upload.")]
ModelId = Annotated[str, Path(description="The id of a model; `/` in it raw or as `%2F`.")]


def _is_retry(x_stainless_retry_count: Annotated[int, Header(include_in_schema=False)] = 0) -> bool:
    """The SDK says so when it sends a request again."""
    return x_stainless_retry_count > 0


IsRetry = Annotated[bool, Depends(_is_retry)]

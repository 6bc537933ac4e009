"""Validation of the parts of an upload."""

from collections import Counter
from collections.abc import Sequence

from worker.jobs.errors import InvalidRequestError
from worker.jobs.storage.upload import MAX_PARTS, MAX_REPEATS, AnnouncedFile, Part


def check_room(parts: Sequence[Part], announced: AnnouncedFile, *, num_more_bytes: int) -> None:
    """Raises InvalidRequestError if another part would exceed a limit."""
    if len(parts) >= MAX_PARTS:
        raise InvalidRequestError(
            f"data: the upload already has {len(parts)} parts, the limit. Send larger parts",
            param="data",
        )
    num_bytes = sum(part.num_bytes for part in parts)
    if num_bytes + num_more_bytes > MAX_REPEATS * announced.num_bytes:
        raise InvalidRequestError(
            f"data: the parts have {num_bytes} bytes and this one has {num_more_bytes}. The limit "
            f"for all parts is {MAX_REPEATS} times the {announced.num_bytes} bytes announced",
            param="data",
        )


def check_parts(
    parts: Sequence[Part], announced: AnnouncedFile, *, part_ids: Sequence[str]
) -> None:
    """Raises InvalidRequestError unless `part_ids` are distinct `parts` that add up to the
    announced size."""
    sizes = {part.id: part.num_bytes for part in parts}
    for part_id, count in Counter(part_ids).items():
        if part_id not in sizes or count > 1:
            found = f"{part_id!r} {count} times" if part_id in sizes else f"{part_id[:64]!r}"
            raise InvalidRequestError(
                f"part_ids: found {found}; expected parts of this upload, each once",
                param="part_ids",
            )
    num_bytes = sum(sizes[part_id] for part_id in part_ids)
    if num_bytes != announced.num_bytes:
        raise InvalidRequestError(
            f"part_ids: the {len(part_ids)} parts have {num_bytes} bytes; expected the "
            f"{announced.num_bytes} bytes announced. The upload is still pending",
            param="part_ids",
        )

"""What stands on the server while it is attacked, and has to stand there afterwards."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Victim:
    """Ids of things that exist."""

    file_id: str
    upload_id: str
    """Pending, without a part, of ten bytes."""
    job_id: str

"""Reports why a watched job makes no progress."""

from api.cli.client import Client, Json
from api.cli.errors import CommandError
from api.cli.views.live import Quiet


class Idleness:
    """Looks up the reason when a job becomes idle, and while its stream is quiet."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._status = ""
        self._said = ""

    def reason(self, item: Json | Quiet) -> str | None:
        """Returns a line to show; None if the reason has not changed."""
        if not isinstance(item, Quiet):
            if "status" not in item["data"]:
                return None
            self._status, self._said = item["data"]["status"], ""
        if self._status not in ("queued", "paused"):
            return None
        try:
            job = self._client.get(self._path)
        except CommandError:
            return None  # the stream is still read and reports a lost server
        said = self._sentence(job)
        if said == self._said:
            return None
        self._said = said
        return said or None

    def _sentence(self, job: Json) -> str:
        # Events may be old: only the current status counts.
        if job["status"] == "paused":
            return f"paused; continue it with `flant5 resume {job['id']}`"
        return f"waiting for {job['waiting_for']}" if job["waiting_for"] else ""

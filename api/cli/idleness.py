"""Why nothing happens to a job that somebody watches."""

from api.cli.client import Client, Json
from api.cli.errors import CommandError
from api.cli.live import Quiet


class Idleness:
    """Looked up when a job stopped moving, and when it is quiet."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._status = ""
        self._said = ""

    def reason(self, item: Json | Quiet) -> str | None:
        """A line to show; None when there is nothing new to say."""
        if not isinstance(item, Quiet):
            if "status" not in item["data"]:
                return None
            self._status, self._said = item["data"]["status"], ""
        if self._status not in ("queued", "paused"):
            return None
        try:
            job = self._client.get(self._path)
        except CommandError:
            return None  # the stream, which is read on, tells when the server is away for good
        said = self._sentence(job)
        if said == self._said:
            return None
        self._said = said
        return said or None

    def _sentence(self, job: Json) -> str:
        # The events may be old: what counts is how the job stands now.
        if job["status"] == "paused":
            return f"paused; `flant5 resume {job['id']}` lets it go on"
        return f"waiting for {job['waiting_for']}" if job["waiting_for"] else ""

"""Timeline of a job: its message events, without per-step metrics."""

from dataclasses import dataclass

from api.dashboard.visitor import Visitor
from worker.jobs.events import Event

_PAGE = 1000
_MAX_READ = 10_000
"""Maximum number of events read when a page opens. Long runs have one per loss report."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's answer to a validation question."""

    step: int
    question: str
    expected: str
    given: str


class Story:
    """Events of one job, limited to the newest. Each call of `more` reads new events."""

    def __init__(self, visitor: Visitor, job_id: str) -> None:
        self._visitor = visitor
        self._job_id = job_id
        self._newest: str | None = None
        self.is_whole = True

    def more(self) -> tuple[Event, ...]:
        """Returns new messages since the last call, oldest first."""
        self._visitor.job(self._job_id)
        events = self._all_so_far() if self._newest is None else self._since(self._newest)
        if events:
            self._newest = events[-1].id
        return tuple(event for event in events if event.type == "message")

    def _all_so_far(self) -> list[Event]:
        found: list[Event] = []
        has_more, after = True, None
        while has_more and len(found) < _MAX_READ:
            page = self._visitor.services.history.events(self._job_id, after=after, limit=_PAGE)
            found += page.items
            has_more, after = page.has_more, found[-1].id if found else None
        self.is_whole = not has_more
        return found[::-1]

    def _since(self, after: str) -> list[Event]:
        page = self._visitor.services.history.events_since(self._job_id, after=after, limit=_PAGE)
        return list(page.items)


def answers_of(event: Event) -> tuple[Answer, ...]:
    """Returns the sample answers in an event; most events have none."""
    told = event.data.get("answers")
    step = event.data.get("step")
    if not isinstance(told, list) or not isinstance(step, int):
        return ()
    return tuple(
        Answer(step, str(each["question"]), str(each["expected"]), str(each["given"]))
        for each in told
        if isinstance(each, dict)
    )

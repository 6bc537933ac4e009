"""What happened to a job, as people ask for it: its events without the numbers of each step."""

from dataclasses import dataclass

from api.dashboard.visitor import Visitor
from worker.jobs.events import Event

_PAGE = 1000
_MAX_READ = 10_000
"""Events that are read when a page is opened; a long run has one for each report of its loss."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered to a validation question."""

    step: int
    question: str
    expected: str
    given: str


class Story:
    """The events of one job since its beginning, or the newest of very many. Each `more` reads
    what came since."""

    def __init__(self, visitor: Visitor, job_id: str) -> None:
        self._visitor = visitor
        self._job_id = job_id
        self._newest: str | None = None
        self.is_whole = True

    def more(self) -> tuple[Event, ...]:
        """Messages that came since the last call, oldest first."""
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
    """The sample answers an event tells of; none for most."""
    told = event.data.get("answers")
    step = event.data.get("step")
    if not isinstance(told, list) or not isinstance(step, int):
        return ()
    return tuple(
        Answer(step, str(each["question"]), str(each["expected"]), str(each["given"]))
        for each in told
        if isinstance(each, dict)
    )

"""Event timeline of a job, and the sample answers of its model.

The timeline shows the message events, without per-step metrics.
"""

from dataclasses import dataclass

from nicegui import ui

from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.format import instant
from api.dashboard.ui.layout import Poller, heading
from worker.jobs.events import Event

_PAGE = 1000
_MAX_READ = 10_000
"""Maximum number of events read when a page opens. Long runs have one per loss report."""


@dataclass(frozen=True, slots=True)
class SampleAnswerView:
    """The model's answer to a validation question."""

    step: int
    question: str
    expected: str
    given: str


class Timeline:
    """Events of one job, limited to the newest. Each call of `more` reads new events."""

    def __init__(self, user: SessionUser, job_id: str) -> None:
        self._user = user
        self._job_id = job_id
        self._newest: str | None = None
        self.is_whole = True

    def more(self) -> tuple[Event, ...]:
        """Returns new messages since the last call, oldest first."""
        self._user.job(self._job_id)
        events = self._all_so_far() if self._newest is None else self._since(self._newest)
        if events:
            self._newest = events[-1].id
        return tuple(event for event in events if event.type == "message")

    def _all_so_far(self) -> list[Event]:
        found: list[Event] = []
        has_more, after = True, None
        while has_more and len(found) < _MAX_READ:
            page = self._user.services.history.events(self._job_id, after=after, limit=_PAGE)
            found += page.items
            has_more, after = page.has_more, found[-1].id if found else None
        self.is_whole = not has_more
        return found[::-1]

    def _since(self, after: str) -> list[Event]:
        page = self._user.services.history.events_since(self._job_id, after=after, limit=_PAGE)
        return list(page.items)


def answers_of(event: Event) -> tuple[SampleAnswerView, ...]:
    """Returns the sample answers in an event; most events have none."""
    listed = event.data.get("answers")
    step = event.data.get("step")
    if not isinstance(listed, list) or not isinstance(step, int):
        return ()
    return tuple(
        SampleAnswerView(step, str(each["question"]), str(each["expected"]), str(each["given"]))
        for each in listed
        if isinstance(each, dict)
    )


_MAX_SHOWN = 200
_QUIET = ("Evaluating", "Training", "Saving")
"""Hidden phases, which recur with every evaluation and checkpoint."""
_ICONS = {
    "queued": "schedule",
    "running": "play_circle",
    "paused": "pause_circle",
    "succeeded": "check_circle",
    "failed": "error",
    "cancelled": "cancel",
    "validating_files": "fact_check",
}


class TimelinePanel:
    """Both parts share one reader of the events."""

    def __init__(self, user: SessionUser, job_id: str) -> None:
        self._timeline = Timeline(user, job_id)
        self._entries: list[ui.element] = []
        with ui.element("section").classes("card") as self._answers_card:
            heading("Sample answers")
            self._answers_from = ui.label().classes("quiet")
            self._answers = ui.element("div").classes("answers-list")
        self._answers_card.set_visibility(False)
        with ui.element("section").classes("card"):
            heading("Events")
            self._cut = ui.label("Only the newest events are shown.").classes("quiet")
            self._cut.set_visibility(False)
            self._list = ui.element("div").classes("story")
        Poller(self._timeline.more, self._show)

    def _show(self, events: tuple[Event, ...]) -> None:
        listed = [answers for event in events if (answers := answers_of(event))]
        if listed:
            self._show_answers(listed[-1])
        for event in events[-_MAX_SHOWN:]:
            if event.message not in _QUIET:
                self._add(event)
        while len(self._entries) > _MAX_SHOWN:
            self._entries.pop(0).delete()
        self._cut.set_visibility(len(self._entries) == _MAX_SHOWN or not self._timeline.is_whole)

    def _add(self, event: Event) -> None:
        status = str(event.data.get("status", ""))
        with self._list, ui.element("div").classes(f"event {event.level} {status}") as entry:
            ui.icon(_ICONS.get(status, "fiber_manual_record")).classes(
                "milestone" if status in _ICONS else "dot"
            )
            with ui.element("div"):
                ui.label(event.message).classes("wrap")
                ui.label(instant(event.created_at)).classes("quiet")
        entry.move(target_index=0)
        self._entries.append(entry)

    def _show_answers(self, answers: tuple[SampleAnswerView, ...]) -> None:
        self._answers_card.set_visibility(True)
        self._answers_from.set_text(f"Validation questions at step {answers[0].step}")
        self._answers.clear()
        with self._answers:
            for answer in answers:
                with ui.element("div").classes("answer"):
                    for name, text in (
                        ("Question", answer.question),
                        ("Expected", answer.expected),
                        ("Answer", answer.given),
                    ):
                        ui.label(name).classes("quiet")
                        ui.label(text).classes("wrap")

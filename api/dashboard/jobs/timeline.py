"""Event timeline of a job, and the sample answers of its model."""

from nicegui import ui

from api.dashboard.job_story import Answer, Story, answers_of
from api.dashboard.live import Fresh
from api.dashboard.ui.format import instant
from api.dashboard.ui.layout import heading
from api.dashboard.visitor import Visitor
from worker.jobs.events import Event

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


class StoryPanel:
    """Both parts share one reader of the events."""

    def __init__(self, visitor: Visitor, job_id: str) -> None:
        self._story = Story(visitor, job_id)
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
        Fresh(self._story.more, self._show)

    def _show(self, events: tuple[Event, ...]) -> None:
        told = [answers for event in events if (answers := answers_of(event))]
        if told:
            self._show_answers(told[-1])
        for event in events[-_MAX_SHOWN:]:
            if event.message not in _QUIET:
                self._add(event)
        while len(self._entries) > _MAX_SHOWN:
            self._entries.pop(0).delete()
        self._cut.set_visibility(len(self._entries) == _MAX_SHOWN or not self._story.is_whole)

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

    def _show_answers(self, answers: tuple[Answer, ...]) -> None:
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

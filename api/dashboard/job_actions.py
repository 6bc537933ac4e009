"""Pause, resume, cancel and delete, each after a question."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from api import wishes
from api.dashboard.deleting import delete_if_sure, job_deletion
from api.dashboard.job_row import JobRow
from api.dashboard.live import tried
from api.dashboard.notes import note
from api.dashboard.question import is_sure
from api.dashboard.visitor import Visitor
from api.wishes import Wish
from worker.jobs.job import Job

Look = Callable[[], Awaitable[None]]
"""Looks at the job anew."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button and what it does."""

    name: str
    icon: str
    question: str
    wish: Wish


PAUSE = Action(
    "Pause",
    "pause",
    "It saves a checkpoint, leaves its GPU, and keeps its place in the queue.",
    wishes.PAUSE,
)
RESUME = Action(
    "Resume",
    "play_arrow",
    "It goes on from its newest checkpoint as soon as its turn comes.",
    wishes.RESUME,
)
CANCEL = Action(
    "Cancel",
    "stop",
    "It is stopped at once. Its checkpoints stay, and it can be resumed later.",
    wishes.CANCEL,
)


def fulfil(visitor: Visitor, job_id: str, action: Action) -> Job:
    """The job after the action. Raises what `wishes.fulfil` does, NotAllowedError,
    SessionEndedError, NotFoundError for another's job."""
    caller, services = visitor.changing(), visitor.services
    visitor.job(job_id)
    job = wishes.fulfil(action.wish, job_id, is_retry=False, services=services)
    call = f"POST /v1/fine_tuning/jobs/{job_id}/{action.name.lower()}"
    note(call, job_id, caller=caller, services=services)
    return job


class ActionButtons:
    """Those of one job, of which the possible ones are seen."""

    def __init__(
        self, visitor: Visitor, look: Look, *, after_delete: Look | None = None, are_small: bool
    ) -> None:
        """Without `after_delete` a deletion is followed by a look, as the others are."""
        self._visitor = visitor
        self._look = look
        self._after_delete = after_delete or look
        self._job_id = self._name = ""
        self._are_small = are_small
        with ui.row().classes("actions"):
            self._buttons = {
                action.name: self._button(action.name, action.icon, partial(self._ask, action))
                for action in (PAUSE, RESUME, CANCEL)
            }
            self._buttons["Delete"] = self._button("Delete", "delete", self._delete)

    def show(self, row: JobRow) -> None:
        """Which job they are for, and what is possible."""
        self._job_id, self._name, choices = row.id, row.name, row.choices
        may_change = self._visitor.may_change
        self._buttons["Pause"].set_visibility(may_change and choices.pause)
        self._buttons["Resume"].set_visibility(may_change and choices.resume)
        self._buttons["Cancel"].set_visibility(may_change and choices.cancel)
        self._buttons["Delete"].set_visibility(may_change and choices.delete)

    def _button(self, name: str, icon: str, on_click: Look) -> ui.button:
        button = ui.button("" if self._are_small else name, icon=icon, on_click=on_click)
        button.props("flat round dense" if self._are_small else "outline dense no-caps")
        button.props(f'aria-label="{name}"')
        if self._are_small:
            button.tooltip(name)
        return button

    async def _delete(self) -> None:
        # The list may move on while the question is open.
        if await delete_if_sure(job_deletion(self._visitor, self._job_id, name=self._name)):
            await self._after_delete()

    async def _ask(self, action: Action) -> None:
        # The list may move on while the question is open.
        job_id, name = self._job_id, self._name
        if await is_sure(f"{action.name} job {name}?", action.question, yes=action.name):
            done = f"{action.name}: job {name}"
            await tried(lambda: fulfil(self._visitor, job_id, action), done=done)
            await self._look()

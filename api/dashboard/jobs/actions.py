"""Buttons to pause, resume, cancel and delete a job, each with a confirmation dialog."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from api.dashboard.jobs.rows import JobRow
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.deletion import delete_if_sure, job_deletion
from api.dashboard.ui.layout import confirm, record_audit_event, run_with_error_toast
from api.services import jobs
from api.services.jobs import JobAction
from worker.jobs.job import Job

Look = Callable[[], Awaitable[None]]
"""Refreshes the displayed job."""


@dataclass(frozen=True, slots=True)
class Action:
    """A job action with its button and confirmation text."""

    name: str
    icon: str
    question: str
    job_action: JobAction


PAUSE = Action(
    "Pause",
    "pause",
    "The job saves a checkpoint, releases its GPU, and keeps its place in the queue.",
    jobs.PAUSE,
)
RESUME = Action(
    "Resume",
    "play_arrow",
    "The job continues from its newest checkpoint when it reaches the front of the queue.",
    jobs.RESUME,
)
CANCEL = Action(
    "Cancel",
    "stop",
    "The job stops at once. Its checkpoints stay, and you can resume it later.",
    jobs.CANCEL,
)


def perform_action(user: SessionUser, job_id: str, action: Action) -> Job:
    """Applies the action and returns the updated job.

    Raises NotAllowedError, SessionEndedError, NotFoundError for jobs of other owners, and the
    errors of `JobAction.apply`.
    """
    caller, services = user.changing(), user.services
    user.job(job_id)
    job = jobs.apply_action(action.job_action, job_id, is_retry=False, services=services)
    call = f"POST /v1/fine_tuning/jobs/{job_id}/{action.name.lower()}"
    record_audit_event(call, job_id, caller=caller, services=services)
    return job


class ActionButtons:
    """Action buttons of one job. Only possible actions are visible."""

    def __init__(
        self, user: SessionUser, look: Look, *, after_delete: Look | None = None, are_small: bool
    ) -> None:
        """`after_delete` replaces the refresh after a deletion."""
        self._user = user
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
        """Sets the job and shows its possible actions."""
        self._job_id, self._name, choices = row.id, row.name, row.choices
        may_change = self._user.may_change
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
        # The row may show another job while the dialog is open.
        if await delete_if_sure(job_deletion(self._user, self._job_id, name=self._name)):
            await self._after_delete()

    async def _ask(self, action: Action) -> None:
        # The row may show another job while the dialog is open.
        job_id, name = self._job_id, self._name
        if await confirm(f"{action.name} job {name}?", action.question, yes=action.name):
            done = f"{action.name}: job {name}"
            await run_with_error_toast(
                lambda: perform_action(self._user, job_id, action), done=done
            )
            await self._look()

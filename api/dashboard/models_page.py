"""Models page at `/models`."""

from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.deletion import delete_if_sure, model_deletion
from api.dashboard.ui.format import instant
from api.dashboard.ui.layout import Poller, chat_address, heading, page_layout
from worker.jobs.store.models import Model

_SECONDS = 5.0


def models_page(request: Request) -> None:
    """Builds the page."""
    with page_layout(request, "Models", here="/models"):
        _ModelsPage(SessionUser.of(request))


class _ModelsPage:
    def __init__(self, user: SessionUser) -> None:
        self._user = user
        self._shown: tuple[tuple[Model, str], ...] | None = None
        heading("Models")
        self._list = ui.element("div").classes("list")
        self._poller = Poller(self._read, self._show, seconds=_SECONDS)

    def _read(self) -> tuple[tuple[Model, str], ...]:
        """Returns models with the ids of the jobs that trained them."""
        services = self._user.services
        jobs = services.store.models.all()
        models = services.models.list(owner=self._user.caller.owner_filter)
        return tuple((model, jobs.get(model.id, "")) for model in models)

    def _show(self, models: tuple[tuple[Model, str], ...]) -> None:
        if models == self._shown:
            return
        self._shown = models
        self._list.clear()
        with self._list:
            for model, job_id in models:
                self._entry(model, job_id)

    def _entry(self, model: Model, job_id: str) -> None:
        about = (model.owned_by, instant(model.created_at))
        with ui.element("article").classes("entry"):
            with ui.element("div").classes("entry-what"):
                ui.label(model.id).classes("entry-name wrap")
                ui.label(" · ".join(filter(None, about))).classes("quiet")
            with ui.row().classes("actions"):
                ui.link("Chat", chat_address(model.id))
                ui.link("Fine-tune", f"/new?{urlencode({'model': model.id})}")
                if job_id:
                    ui.link("Job", f"/jobs/{job_id}")
                    ui.link("Download", f"/download/jobs/{job_id}/model.tar").props("download")
                    if self._user.may_change:
                        button = ui.button(
                            icon="delete", on_click=lambda: self._delete(model, job_id)
                        )
                        button.props('flat round dense aria-label="Delete"').tooltip("Delete")

    async def _delete(self, model: Model, job_id: str) -> None:
        if await delete_if_sure(model_deletion(self._user, model.id, job_id=job_id)):
            await self._poller.refresh()

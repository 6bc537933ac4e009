"""Uploaded files at `/files`."""

from fastapi import Request
from nicegui import ui

from api.dashboard.data_files.widgets import ReportCard, recent_files
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.deletion import delete_if_sure, file_deletion
from api.dashboard.ui.format import instant, size
from api.dashboard.ui.layout import Poller, empty, heading, page_layout
from api.schemas.plans import ReportQuery
from worker.jobs.storage.files import StoredFile

_SECONDS = 5.0


def files_page(request: Request) -> None:
    """Builds the page."""
    with page_layout(request, "Files", here="/files"):
        _FilesPage(SessionUser.of(request))


class _FilesPage:
    def __init__(self, user: SessionUser) -> None:
        self._user = user
        self._shown: tuple[StoredFile, ...] | None = None
        with ui.row().classes("spread"):
            heading("Files")
            ui.space()
            new = ui.button("Upload", icon="upload_file", on_click=lambda: ui.navigate.to("/new"))
            new.props("unelevated no-caps")
        self._list = ui.element("div").classes("list")
        self._poller = Poller(lambda: recent_files(user), self._show, seconds=_SECONDS)

    def _show(self, files: tuple[StoredFile, ...]) -> None:
        if files == self._shown:
            return
        self._shown = files
        self._list.clear()
        with self._list:
            if not files:
                empty("description", "No files yet. Upload one to train on it.")
            for file in files:
                self._entry(file)

    def _entry(self, file: StoredFile) -> None:
        about = (size(file.num_bytes), instant(file.created_at), file.owner)
        with ui.element("article").classes("entry"):
            with ui.element("div").classes("entry-what"):
                ui.label(file.filename).classes("entry-name wrap")
                ui.label(" · ".join(filter(None, about))).classes("quiet")
                ui.label(file.id).classes("mono quiet wrap")
            with ui.row().classes("actions"):
                ui.link("New job with this file", f"/new?training_file={file.id}")
                ui.link("Download", f"/download/files/{file.id}").props("download")
                if self._user.may_change:
                    button = ui.button(icon="delete", on_click=lambda: self._delete(file))
                    button.props('flat round dense aria-label="Delete"').tooltip("Delete")
            with ui.expansion("Report").props("dense").classes("entry-report") as expansion:
                box = ui.element("div")
            expansion.on_value_change(lambda event: self._report(box, file, event.value))

    def _report(self, box: ui.element, file: StoredFile, is_open: bool) -> None:
        box.clear()
        if is_open:
            with box:
                ReportCard(self._user, file.id, ReportQuery())

    async def _delete(self, file: StoredFile) -> None:
        if await delete_if_sure(file_deletion(self._user, file)):
            await self._poller.refresh()

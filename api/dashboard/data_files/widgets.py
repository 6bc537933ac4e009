"""Selects the training file of a job: an existing file or a new upload."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import GenericEventArguments

from api.dashboard.live import tried
from api.dashboard.ui.format import instant, size
from api.dashboard.visitor import Visitor
from worker.jobs.storage.files import StoredFile

_MAX_LISTED = 200
_TRAINABLE = "fine-tune"


def recent_files(visitor: Visitor) -> tuple[StoredFile, ...]:
    """Returns the newest training files that the visitor may see."""
    caller = visitor.caller
    files = (file for file in visitor.services.files.all() if caller.may_see(file.owner))
    return tuple(islice((file for file in files if file.purpose == _TRAINABLE), _MAX_LISTED))


class FileChoice:
    """Calls `on_choice` with a file id, a path under the data root, or ''."""

    def __init__(self, visitor: Visitor, chosen: str, on_choice: Callable[[str], Any]) -> None:
        self._visitor = visitor
        self._on_choice = on_choice
        self._chosen = chosen
        self._uploader()
        self._select = ui.select(
            {chosen: chosen} if chosen else {},
            label="Training file",
            value=chosen or None,
            with_input=True,
            clearable=True,
            new_value_mode="add-unique",
            on_change=lambda event: self._choose(event.value or ""),
        )
        hint = "an uploaded file, or a path relative to the server's data root"
        self._select.props(f'outlined dense hint="{hint}" aria-label="training_file"')
        ui.timer(0, self.load, once=True)

    async def load(self) -> None:
        """Reloads the list of files."""
        files = await tried(lambda: recent_files(self._visitor), done="")
        options = {file.id: _label(file) for file in files or ()}
        if self._chosen and self._chosen not in options:
            options[self._chosen] = self._chosen
        self._select.set_options(options, value=self._chosen or None)

    def _uploader(self) -> None:
        if not self._visitor.may_change:
            return
        limit = self._visitor.services.settings.max_file_bytes
        uploader = ui.upload(
            label="Drop a file of conversations here, or press +",
            auto_upload=True,
            max_file_size=limit,
            on_rejected=lambda: ui.notify(
                f"The file exceeds this page's limit of {size(limit)}. Upload it with "
                "`flant5 submit FILE` or the SDK's uploads API.",
                type="negative",
                multi_line=True,
            ),
        )
        uploader.props('url="/upload" field-name="file" flat bordered').classes("uploader")
        answer = "(info) => emit(info.xhr ? info.xhr.responseText : '')"
        uploader.on("uploaded", self._uploaded, js_handler=answer)
        uploader.on("failed", self._failed, js_handler=answer)

    async def _uploaded(self, event: GenericEventArguments) -> None:
        file_id = str(json.loads(event.args)["id"])
        stored = await run_in_threadpool(self._visitor.file, file_id)
        ui.notify(f"Uploaded {stored.filename}", type="positive")
        self._chosen = stored.id
        await self.load()

    def _failed(self, event: GenericEventArguments) -> None:
        try:
            message = str(json.loads(event.args)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = "The upload was interrupted. Try again."
        ui.notify(message, type="negative", multi_line=True, close_button="OK", timeout=0)

    def _choose(self, reference: str) -> None:
        self._chosen = reference
        self._on_choice(reference)


def _label(file: StoredFile) -> str:
    return f"{file.filename} · {size(file.num_bytes)} · {instant(file.created_at)}"

"""Panel with the checkpoints and the final model of one job."""

from dataclasses import dataclass

from nicegui import ui

from api.dashboard.live import Fresh
from api.dashboard.ui.deletion import checkpoint_deletion, delete_if_sure
from api.dashboard.ui.format import instant, number, size
from api.dashboard.ui.layout import chat_address, heading
from api.dashboard.visitor import Visitor
from api.schemas.history import CheckpointObject
from api.services.outputs import find_artifact, list_artifacts
from worker.jobs.errors import NotFoundError
from worker.jobs.life import Status

_MAX_SHOWN = 50
_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Download:
    """One entry of the list."""

    name: str
    about: str
    model: str
    """Id for training and chat requests."""
    address: str
    step: int | None = None
    """Step of a checkpoint that can be deleted; otherwise None."""


class CheckpointsPanel:
    """Lists the final model first, then checkpoints from newest to oldest."""

    def __init__(self, visitor: Visitor, job_id: str) -> None:
        self._visitor = visitor
        self._job_id = job_id
        self._shown: tuple[Download, ...] | None = None
        with ui.element("section").classes("card"):
            heading("Checkpoints and model")
            self._list = ui.element("div").classes("downloads")
        self._fresh = Fresh(self._read, self._show, seconds=_SECONDS)

    def _read(self) -> tuple[Download, ...]:
        visitor, job = self._visitor, self._visitor.job(self._job_id)
        sizes = _sizes(visitor, job.id)
        page = visitor.services.history.checkpoints(job.id, limit=_MAX_SHOWN)
        found = []
        if job.status is Status.SUCCEEDED and job.fine_tuned_model and "" in sizes:
            about = f"final result · {size(sizes[''])}"
            address = f"/download/jobs/{job.id}/model.tar"
            found.append(Download("Final model", about, job.fine_tuned_model, address))
        for checkpoint in page.items:
            shown = CheckpointObject.of(checkpoint, job=job)
            name = f"checkpoint-{checkpoint.step}"
            if name not in sizes:
                continue  # deleted by checkpoint rotation
            loss = shown.metrics.get("full_valid_loss")
            parts = [instant(checkpoint.created_at), size(sizes[name])]
            if loss is not None:
                parts.append(f"validation loss {number(loss)}")
            address = f"/download/jobs/{job.id}/{name}.tar"
            model = shown.fine_tuned_model_checkpoint
            can_go = job.status.is_final and visitor.may_change
            step = checkpoint.step if can_go else None
            about = " · ".join(parts)
            found.append(Download(f"Step {checkpoint.step}", about, model, address, step))
        return tuple(found)

    def _show(self, found: tuple[Download, ...]) -> None:
        if found == self._shown:
            return
        self._shown = found
        self._list.clear()
        with self._list:
            if not found:
                ui.label("None yet.").classes("quiet")
            for each in found:
                with ui.element("div").classes("download"):
                    with ui.element("div"):
                        ui.label(each.name)
                        ui.label(each.about).classes("quiet")
                        ui.label(each.model).classes("mono quiet wrap")
                    with ui.row().classes("actions"):
                        chat = ui.link("Chat", chat_address(each.model))
                        chat.props(f'aria-label="Chat with {each.name}"')
                        load = ui.link("Download", each.address)
                        load.props(f'download aria-label="{each.name}"')
                        if each.step is not None:
                            self._delete_button(each.step)

    def _delete_button(self, step: int) -> None:
        button = ui.button(icon="delete", on_click=lambda: self._delete(step))
        button.props(f'flat round dense aria-label="Delete step {step}"').tooltip("Delete")

    async def _delete(self, step: int) -> None:
        if await delete_if_sure(checkpoint_deletion(self._visitor, self._job_id, step=step)):
            await self._fresh.look()


def _sizes(visitor: Visitor, job_id: str) -> dict[str, int]:
    """Returns the bytes of each checkpoint directory, and of the final model under ''."""
    output = visitor.services.home.run_directory(job_id).output
    try:
        root = find_artifact(output, "")
    except NotFoundError:
        return {}
    sizes: dict[str, int] = {}
    for artifact in list_artifacts(output, root):
        first, _, rest = artifact.id.partition("/")
        place = first if rest and first.startswith("checkpoint-") else ""
        sizes[place] = sizes.get(place, 0) + artifact.bytes
    return sizes

"""Integration module for a Hugging Face Hub: pushes the final model of a job."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.integrations.accounts import HubAccount
from worker.integrations.export_task import ExportError, ExportReporter, ExportTask, RunTailer
from worker.integrations.settings import settle_hub_library
from worker.jobs.integrations import HubRepository
from worker.jobs.storage.paths import RunDirectory

_ALIVE_SECONDS = 10.0


def export(task: ExportTask, *, run: RunTailer, reporter: ExportReporter) -> None:
    """Pushes the final model of a job that has succeeded. Raises ExportError."""
    account = HubAccount.model_validate(task.account)
    place: HubRepository = task.settings
    if place.namespace not in account.namespaces:
        raise ExportError(
            f"the namespace {place.namespace!r} is no longer allowed by [huggingface] in the "
            "integrations file",
            is_final=True,
        )
    with tempfile.TemporaryDirectory() as directory, _reporting_alive(reporter):
        settle_hub_library(Path(directory), has_xet=account.transfer == "xet")
        # Imported only now: `huggingface_hub` reads its environment on import.
        from worker.integrations.hub_push import HubError, HubTarget, push

        try:
            pushed = push(
                RunDirectory(task.run_directory).output,
                target=HubTarget(
                    account.endpoint, place.repository, place.private, revision=place.revision
                ),
                token=account.token.get_secret_value(),
                message=f"Fine-tuned from {task.spec.model} by flant5, {task.job_id}",
            )
        except HubError as error:
            raise ExportError(str(error), is_final=error.is_final) from error
    reporter.url(pushed.url)


@contextmanager
def _reporting_alive(reporter: ExportReporter) -> Iterator[None]:
    """Sends heartbeats during a push.

    An upload of gigabytes takes longer than the scheduler's timeout. The timeouts of each request
    (`hub_push`) prevent a hang.
    """
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(_ALIVE_SECONDS):
            reporter.alive()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()

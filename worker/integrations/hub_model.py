"""Integration module for a Hugging Face Hub: pushes a finished model."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.integrations.accounts import HubAccount
from worker.integrations.assignment import Assignment
from worker.integrations.export_task import FollowedRun, Say, ShippingError
from worker.integrations.settings import settle_hub_library
from worker.jobs.integrations import HubRepository
from worker.jobs.storage.paths import RunDirectory

_ALIVE_SECONDS = 10.0


def ship(assignment: Assignment, *, run: FollowedRun, say: Say) -> None:
    """Pushes the final model of a job that has succeeded. Raises ShippingError."""
    account = HubAccount.model_validate(assignment.account)
    place: HubRepository = assignment.settings
    if place.namespace not in account.namespaces:
        raise ShippingError(
            f"the namespace {place.namespace!r} is no longer allowed by [huggingface] in the "
            "integrations file",
            is_final=True,
        )
    with tempfile.TemporaryDirectory() as directory, _saying_that_it_lives(say):
        settle_hub_library(Path(directory), has_xet=account.transfer == "xet")
        # Imported only now, because it reads its environment on import.
        from worker.integrations.hub_error import HubError
        from worker.integrations.huggingface import Place, push

        try:
            pushed = push(
                RunDirectory(assignment.run_directory).output,
                place=Place(
                    account.endpoint, place.repository, place.private, revision=place.revision
                ),
                token=account.token.get_secret_value(),
                message=f"Fine-tuned from {assignment.spec.model} by flant5, {assignment.job_id}",
            )
        except HubError as error:
            raise ShippingError(str(error), is_final=error.is_final) from error
    say.url(pushed.url)


@contextmanager
def _saying_that_it_lives(say: Say) -> Iterator[None]:
    """Sends heartbeats during a push.

    An upload of gigabytes takes longer than the shipper's timeout. The timeouts of each request
    (`hub_push`) prevent a hang.
    """
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(_ALIVE_SECONDS):
            say.alive()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()

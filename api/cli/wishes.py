"""`flant5 cancel`, `pause` and `resume`: job actions, one request each."""

from typing import Annotated

import typer

from api.cli.client import Client
from api.cli.commands.jobs import AsJson, JobId
from api.cli.errors import reported
from api.cli.settings import ClientSettings
from api.cli.views.format import print_json


def cancel(
    job_id: JobId,
    save: Annotated[
        bool, typer.Option("--save", help="Save a checkpoint of a running job first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job. Its checkpoints stay; `flant5 resume` continues from the newest."""
    wish = "cancel?save_checkpoint=true" if save else "cancel"
    asked = "is saving a checkpoint, then stopping" if save else "is stopping"
    _send(job_id, wish, said={"cancelled": "is cancelled", "running": asked}, as_json=as_json)


def pause(job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a job. A running job saves a checkpoint and releases its GPU."""
    asked = "is pausing after the next checkpoint"
    _send(job_id, "pause", said={"paused": "is paused", "running": asked}, as_json=as_json)


def resume(job_id: JobId, as_json: AsJson = False) -> None:
    """Resume a paused, failed or cancelled job from its newest checkpoint."""
    said = {
        "queued": "is queued again",
        "validating_files": "is resumed; its files are being validated",
        "running": "keeps running; the pending pause was withdrawn",
    }
    _send(job_id, "resume", said=said, as_json=as_json)


def _send(job_id: str, wish: str, *, said: dict[str, str], as_json: bool) -> None:
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.post(f"/fine_tuning/jobs/{job_id}/{wish}")
        if as_json:
            print_json(job)
        else:
            # The job may have reached any other status before the response.
            typer.echo(f"{job_id} {said.get(job['status'], 'is ' + job['status'])}")

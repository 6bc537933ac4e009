"""`flant5 cancel`, `pause`, `resume`: what a person wants of a job, one request each."""

from typing import Annotated

import typer

from api.cli.client import Client
from api.cli.errors import reported
from api.cli.jobs import AsJson, JobId
from api.cli.printing import print_json
from api.cli.settings import ClientSettings


def cancel(
    job_id: JobId,
    save: Annotated[
        bool, typer.Option("--save", help="Let a running trainer save a checkpoint first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job; its checkpoints stay, and `flant5 resume` goes on from the newest."""
    wish = "cancel?save_checkpoint=true" if save else "cancel"
    asked = "is asked to save a checkpoint and stop" if save else "is asked to stop"
    _send(job_id, wish, said={"cancelled": "is cancelled", "running": asked}, as_json=as_json)


def pause(job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a job: a running one saves a checkpoint and gives its GPU back."""
    asked = "is asked to save a checkpoint and is paused then"
    _send(job_id, "pause", said={"paused": "is paused", "running": asked}, as_json=as_json)


def resume(job_id: JobId, as_json: AsJson = False) -> None:
    """Let a paused, failed or cancelled job go on from its newest checkpoint."""
    said = {
        "queued": "is back in the queue",
        "validating_files": "goes on; its files are being checked",
        "running": "goes on; the pause is taken back",
    }
    _send(job_id, "resume", said=said, as_json=as_json)


def _send(job_id: str, wish: str, *, said: dict[str, str], as_json: bool) -> None:
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.post(f"/fine_tuning/jobs/{job_id}/{wish}")
        if as_json:
            print_json(job)
        else:
            # Between the wish and the answer the job may have gone on to any other status.
            typer.echo(f"{job_id} {said.get(job['status'], 'is ' + job['status'])}")

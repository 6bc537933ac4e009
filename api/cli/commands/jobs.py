"""`flant5 submit`, `job`, `cancel`, `pause` and `resume`: create, show and change a job.

Cancel, pause and resume are one request each.
"""

import json
from typing import Annotated, Any

import typer

from api.cli import options
from api.cli.client import Client, CommandError, Json, reported
from api.cli.commands.plan import dry_run, print_plan
from api.cli.commands.watch import watch_job
from api.cli.options import file_id_of, integration
from api.cli.settings import ClientSettings
from api.cli.views.format import duration, moment, print_json, print_table, state_of
from flant5_train.config import DEMO_MODEL

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JobId = Annotated[
    str, typer.Argument(help="The id of a job: ftjob-...", autocompletion=options.job_ids)
]


def submit(
    data: Annotated[
        str,
        typer.Argument(
            help="A local file to upload, or a file id.", autocompletion=options.file_ids
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Base model.", autocompletion=options.model_ids)
    ] = DEMO_MODEL,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Validation conversations: a local file or a file id.",
            autocompletion=options.file_ids,
        ),
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Part of the model's id.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A hyperparameter.",
            autocompletion=options.hyperparameters,
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="-100 to 100; higher values run first.")
    ] = None,
    max_run_seconds: Annotated[
        int | None, typer.Option(help="Fail the job after this many seconds of running.")
    ] = None,
    integrations: Annotated[
        list[str] | None,
        typer.Option(
            "--integration",
            metavar="TYPE:NAME=VALUE,...",
            help="Also log the run to: wandb:project=P, mlflow:experiment=E, "
            "huggingface:repository=ORG/NAME.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job until it ends.")] = False,
    dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Estimate the job without starting it."),
    ] = False,
    gpu_memory_gib: Annotated[
        float | None, typer.Option(help="With --dry-run: GPU memory to plan for, in GiB.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Upload conversations and submit a job, or plan it with --dry-run.

    The exit code of --dry-run is 1 if the job would fail.
    """
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        if dry and watch:
            raise CommandError("--watch can't be combined with --dry-run")
        if gpu_memory_gib is not None and not dry:
            raise CommandError("--gpu-memory-gib requires --dry-run")
        hyperparameters = dict(parse_override(setting) for setting in settings or [])
        request: Json = {"model": model, "suffix": suffix, "seed": seed}
        request |= {"priority": priority, "max_run_seconds": max_run_seconds}
        request["method"] = {
            "type": "supervised",
            "supervised": {"hyperparameters": hyperparameters},
        }
        if integrations:
            request["integrations"] = [integration(each) for each in integrations]
        files = {"training_file": data} | ({"validation_file": validation} if validation else {})
        if dry:
            plan = dry_run(client, request, files=files, gpu_memory_gib=gpu_memory_gib)
            raise typer.Exit(print_plan(plan, as_json=as_json))
        request |= {field: file_id_of(client, reference) for field, reference in files.items()}
        job = client.post("/fine_tuning/jobs", request)
        if watch:
            raise typer.Exit(watch_job(client, job, as_json=as_json))
        if as_json:
            print_json(job)
        else:
            typer.echo(f"submitted {job['id']}; follow it with `flant5 watch {job['id']}`")


def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.get(f"/fine_tuning/jobs/{job_id}")
        if as_json:
            print_json(job)
            return
        print_table(("FIELD", "VALUE"), [row for row in _details(job) if row[1]])


def parse_override(text: str) -> tuple[str, Any]:
    """Parses NAME=VALUE. The value is JSON if possible, otherwise text.

    >>> [parse_override(text) for text in ("learning_rate=2e-5", "bf16=true", "a=cosine")]
    [('learning_rate', 2e-05), ('bf16', True), ('a', 'cosine')]
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise CommandError(f"--set {text}: expected NAME=VALUE, such as learning_rate=2e-5")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def _details(job: Json) -> list[tuple[str, str]]:
    progress, error = job["progress"] or {}, job["error"] or {}
    eta = progress.get("eta_seconds") if job["status"] == "running" else None
    loss = progress.get("loss")
    return [
        ("id", job["id"]),
        ("status", state_of(job)),
        ("waiting for", job["waiting_for"] or ""),
        ("resume with", f"flant5 resume {job['id']}" if job["status"] == "paused" else ""),
        ("error", ": ".join(filter(None, (error.get("code"), error.get("message"))))),
        ("model", job["model"]),
        ("result", job["fine_tuned_model"] or ""),
        ("training file", job["training_file"]),
        ("validation file", job["validation_file"] or ""),
        ("owner", job["owner"]),
        ("priority", str(job["priority"] or "")),
        ("created", moment(job["created_at"])),
        ("started", moment(job["started_at"])),
        ("finished", moment(job["finished_at"])),
        ("attempt", str(job["attempt"] or "")),
        ("run time", _time_used(job)),
        ("step", f"{progress['step']} of {progress['max_steps']}" if progress.get("step") else ""),
        ("loss", "" if loss is None else f"{loss:.3f}"),
        ("time left", "" if eta is None else duration(eta)),
        ("output", job["output_directory"]),
    ]


def _time_used(job: Json) -> str:
    """
    >>> _time_used({"run_seconds": 65.2, "max_run_seconds": 3600})
    '1m05s of 1h00m (ended attempts)'
    """
    if not job["run_seconds"] and job["max_run_seconds"] is None:
        return ""
    limit = job["max_run_seconds"]
    of_limit = "" if limit is None else f" of {duration(limit)}"
    return f"{duration(job['run_seconds'])}{of_limit} (ended attempts)"


def cancel(
    job_id: JobId,
    save: Annotated[
        bool, typer.Option("--save", help="Save a checkpoint of a running job first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job. Its checkpoints stay; `flant5 resume` continues from the newest."""
    action = "cancel?save_checkpoint=true" if save else "cancel"
    asked = "is saving a checkpoint, then stopping" if save else "is stopping"
    _send(job_id, action, messages={"cancelled": "is cancelled", "running": asked}, as_json=as_json)


def pause(job_id: JobId, as_json: AsJson = False) -> None:
    """Pause a job. A running job saves a checkpoint and releases its GPU."""
    asked = "is pausing after the next checkpoint"
    _send(job_id, "pause", messages={"paused": "is paused", "running": asked}, as_json=as_json)


def resume(job_id: JobId, as_json: AsJson = False) -> None:
    """Resume a paused, failed or cancelled job from its newest checkpoint."""
    messages = {
        "queued": "is queued again",
        "validating_files": "is resumed; its files are being validated",
        "running": "keeps running; the pending pause was withdrawn",
    }
    _send(job_id, "resume", messages=messages, as_json=as_json)


def _send(job_id: str, action: str, *, messages: dict[str, str], as_json: bool) -> None:
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.post(f"/fine_tuning/jobs/{job_id}/{action}")
        if as_json:
            print_json(job)
        else:
            # The job may have reached any other status before the response.
            typer.echo(f"{job_id} {messages.get(job['status'], 'is ' + job['status'])}")

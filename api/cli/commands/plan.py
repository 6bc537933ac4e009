"""`flant5 submit --dry-run`: estimates a job without starting it.

It leaves no files behind on the server, and prints the plan as JSON or as a text for people.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import typer
from rich.console import Console

from api.cli.client import Client, Json
from api.cli.options import file_id_of
from api.cli.views.format import duration, plain, print_json, print_table, size

_OF_THE_SDK = ("n_epochs", "batch_size", "learning_rate_multiplier")


def show_plan(plan: Json) -> None:
    rows = [*_job(plan), *_data(plan["data"]), *_batches(plan["batches"]), *_needs(plan)]
    print_table(("FIELD", "VALUE"), [row for row in rows if row[1]])
    if plan["warnings"]:
        typer.echo()
        columns = ("LEVEL", "ABOUT", "MESSAGE")
        print_table(
            columns,
            [
                (each["level"], each["param"] or each["code"], plain(each["message"]))
                for each in plan["warnings"]
            ],
        )
    typer.echo("\nnothing was started" if plan["is_feasible"] else "\nthe job would fail")


def _job(plan: Json) -> list[tuple[str, str]]:
    spec, model = plan["spec"], plan["model"]
    settings = {
        name: value
        for name, value in spec["hyperparameters"].items()
        if name not in _OF_THE_SDK and value is not None
    }
    sizes = plan["model_note"]
    if model:
        sizes = f"{_millions(model['num_weights'])} parameters by {model['sizes_from']}"
        if model["num_trained"] != model["num_weights"]:
            sizes += f", {_millions(model['num_trained'])} trainable"
    return [
        ("model", f"{spec['model']}: {sizes}"),
        ("settings", ", ".join(f"{name}={_value(value)}" for name, value in settings.items())),
        ("auto", (plan["auto"] or "").removeprefix("auto: ")),
        ("seed", str(spec["seed"])),
    ]


def _data(data: Json) -> list[tuple[str, str]]:
    training, note = data["training"], data["note"]
    left_out = (f"{count} x {reason}" for reason, count in training["left_out"].items())
    return [
        ("training", _pairs(training)),
        ("validation", _pairs(data["validation"]) if data["validation"] else "none"),
        ("left out", ", ".join(left_out)),
        (
            "tokens per epoch",
            f"{training['source_tokens']} input, {training['target_tokens']} target",
        ),
        ("token count", data["counted"] + (f" ({note})" if note else "")),
        (
            "truncated",
            f"{training['truncated_sources']} questions, {training['truncated_targets']} answers",
        ),
    ]


def _pairs(side: Json) -> str:
    return f"{side['pairs']} pairs from {side['conversations']} conversations"


def _batches(batches: Json | None) -> list[tuple[str, str]]:
    if batches is None:
        return []
    fills = f"{batches['source_fill']:.0%} input, {batches['target_fill']:.0%} target"
    return [
        (
            "steps",
            f"{batches['num_steps']} ({batches['num_epochs']:.4g} epochs of"
            f" {batches['steps_per_epoch']} steps, {batches['pairs_per_step']:.1f} pairs per step)",
        ),
        ("total tokens", f"{batches['source_tokens'] + batches['target_tokens']}"),
        ("batch fill", fills),
    ]


def _needs(plan: Json) -> list[tuple[str, str]]:
    memory, disk, time = plan["memory"], plan["disk"], plan["time"]
    rows = []
    if memory:
        text = f"at most {size(memory['total_bytes'])}"
        if memory["gpu_bytes"] is None:
            text += f"; {memory['reason']}"
        else:
            fits = "fits" if memory["fits"] else "may not fit"
            text += f" of {size(memory['gpu_bytes'])} ({memory['gpu_from']}): {fits}"
        rows.append(("GPU memory", text))
    if disk:
        rows.append(
            (
                "disk",
                f"at most {size(disk['peak_bytes'])} of {size(disk['free_bytes'])} free;"
                f" {size(disk['checkpoint_bytes'])} per checkpoint,"
                f" {size(disk['model_bytes'])} for the model",
            )
        )
    rows.append(("time", _time(time)))
    return rows


def _time(time: Json) -> str:
    if time["seconds"] is None:
        return f"unknown: {time['reason']}"
    jobs = f"{time['num_measured_jobs']} similar job{'' if time['num_measured_jobs'] == 1 else 's'}"
    return f"about {duration(time['seconds'])}, based on {jobs}"


def _millions(number: int) -> str:
    """
    >>> _millions(76_961_152), _millions(5_410)
    ('77.0 million', '5410')
    """
    return f"{number / 1e6:.1f} million" if number >= 100_000 else str(number)


def _value(value: object) -> str:
    """
    >>> _value(True), _value(["q", "v"]), _value(1e-4)
    ('true', 'q+v', '0.0001')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


_POLL_SECONDS = 1.0
_WAIT_SECONDS = 20


def dry_run(
    client: Client, request: Json, *, files: Mapping[str, str], gpu_memory_gib: float | None
) -> Json:
    """Returns the plan of a request with `files`, ids or local paths by field.

    Local files are uploaded and deleted afterwards.
    """
    with ExitStack() as uploaded:
        named: Json = {}
        for field, reference in files.items():
            named[field] = file_id_of(client, reference)
            if Path(reference).is_file():
                uploaded.callback(client.delete, f"/files/{named[field]}")
        return _plan(client, request | named, gpu_memory_gib=gpu_memory_gib)


def print_plan(plan: Json, *, as_json: bool) -> int:
    """Prints the plan. Returns the exit code: 1 if the job would fail."""
    if as_json:
        print_json(plan)
    else:
        show_plan(plan)
    return 0 if plan["is_feasible"] else 1


def _plan(client: Client, request: Json, *, gpu_memory_gib: float | None) -> Json:
    query: dict[str, float] = {"wait_seconds": _WAIT_SECONDS}
    if gpu_memory_gib is not None:
        query["gpu_memory_gib"] = gpu_memory_gib
    with Console(stderr=True).status("planning"):
        while True:
            plan = client.post(f"/fine_tuning/jobs/plan?{urlencode(query)}", request)
            if plan["status"] == "completed":
                return plan
            time.sleep(_POLL_SECONDS)

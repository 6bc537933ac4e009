"""A plan of a job, for people."""

import typer

from api.cli.client import Json
from api.cli.printing import duration, plain, print_table, size

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
        sizes = f"{_millions(model['num_weights'])} weights by {model['sizes_from']}"
        if model["num_trained"] != model["num_weights"]:
            sizes += f", {_millions(model['num_trained'])} of them or beside them trained"
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
            "tokens of an epoch",
            f"{training['source_tokens']} read, {training['target_tokens']} learned",
        ),
        ("tokens are", data["counted"] + (f" ({note})" if note else "")),
        (
            "cut",
            f"{training['truncated_sources']} questions, {training['truncated_targets']} answers",
        ),
    ]


def _pairs(side: Json) -> str:
    return f"{side['pairs']} pairs of {side['conversations']} conversations"


def _batches(batches: Json | None) -> list[tuple[str, str]]:
    if batches is None:
        return []
    fills = f"{batches['source_fill']:.0%} of questions, {batches['target_fill']:.0%} of answers"
    return [
        (
            "steps",
            f"{batches['num_steps']} of {batches['pairs_per_step']:.1f} pairs each:"
            f" {batches['num_epochs']:.4g} epochs of {batches['steps_per_epoch']} steps",
        ),
        ("tokens of the run", f"{batches['source_tokens'] + batches['target_tokens']}"),
        ("batches are full to", fills),
    ]


def _needs(plan: Json) -> list[tuple[str, str]]:
    memory, disk, time = plan["memory"], plan["disk"], plan["time"]
    rows = []
    if memory:
        told = f"{size(memory['total_bytes'])} at most"
        if memory["gpu_bytes"] is None:
            told += f"; {memory['reason']}"
        else:
            fits = "it fits" if memory["fits"] else "it may not fit"
            told += f", of {size(memory['gpu_bytes'])} ({memory['gpu_from']}): {fits}"
        rows.append(("memory of a GPU", told))
    if disk:
        rows.append(
            (
                "disk",
                f"{size(disk['peak_bytes'])} at most, of {size(disk['free_bytes'])} that are free;"
                f" {size(disk['checkpoint_bytes'])} a checkpoint, {size(disk['model_bytes'])} the"
                " model",
            )
        )
    rows.append(("time", _time(time)))
    return rows


def _time(time: Json) -> str:
    if time["seconds"] is None:
        return f"not known: {time['reason']}"
    jobs = f"{time['num_measured_jobs']} job{'' if time['num_measured_jobs'] == 1 else 's'}"
    return f"about {duration(time['seconds'])}, as {jobs} of this kind were measured"


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

"""`flant5 data check`: reports the contents and problems of a conversation file.

It prints the report as JSON or as a text for people.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli import options as completion
from api.cli.client import Client, CommandError, Json, reported
from api.cli.commands.jobs import AsJson
from api.cli.settings import ClientSettings
from api.cli.views.format import plain, print_json, print_table, size


def show_report(report: Json) -> None:
    print_table(("FIELD", "VALUE"), _summary(report))
    if report["pairs"]:
        typer.echo()
        print_table(("TOKENS UP TO", "QUESTIONS", "ANSWERS"), _histogram(report))
        typer.echo()
        columns = ("LIMIT", "TRUNCATED QUESTIONS", "TRUNCATED ANSWERS", "TOKENS LOST")
        others = [cut for cut in report["other_limits"] if cut != report["cut"]]
        print_table(columns, [_cut(cut) for cut in (report["cut"], *others)])
    if report["repeats"]["listed"]:
        typer.echo()
        rows = [
            (_number(each["record"]), _number(each["line"]), _number(each["first_record"]))
            for each in report["repeats"]["listed"]
        ]
        print_table(("DUPLICATE RECORD", "LINE", "FIRST RECORD"), rows)
    for title in ("problems", "warnings"):
        _show_problems(title, report[title])


def _summary(report: Json) -> list[tuple[str, str]]:
    tokens, repeats = report["tokens"], report["repeats"]
    left_out = (f"{count} x {reason}" for reason, count in report["left_out"].items())
    counted = tokens["counted"] + (f" ({tokens['note']})" if tokens["note"] else "")
    rows = [
        ("file", f"{plain(report['file'])}, {size(report['bytes'])}"),
        ("trainable", "yes" if report["is_trainable"] else "no"),
        ("records", f"{report['records']}, {report['conversations']} valid"),
        ("pairs", str(report["pairs"])),
        ("left out", ", ".join(left_out)),
        (
            "tokens per epoch",
            f"{tokens['source_tokens']} input, {tokens['target_tokens']} target",
        ),
        ("token count", counted),
        ("duplicates", f"{repeats['num_repeats']}" if repeats["num_repeats"] else ""),
        ("problems", _counts(report["problems"])),
        ("warnings", _counts(report["warnings"])),
    ]
    return [row for row in rows if row[1]]


def _counts(problems: Json) -> str:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in problems["by_kind"].items())
    return f"{problems['num_problems']}: {kinds}" if kinds else ""


def _histogram(report: Json) -> list[tuple[str, str, str]]:
    sides = [
        {bucket["up_to"]: bucket["pairs"] for bucket in report[side]["histogram"]}
        for side in ("source_lengths", "target_lengths")
    ]
    sources, targets = sides
    return [
        (str(up_to), str(sources.get(up_to, 0)), str(targets.get(up_to, 0)))
        for up_to in sorted(sources | targets)
    ]


def _cut(cut: Json) -> tuple[str, ...]:
    source, target = cut["max_source_length"], cut["max_target_length"]
    return (
        str(source) if source == target else f"{source} / {target}",
        str(cut["truncated_sources"]),
        str(cut["truncated_targets"]),
        str(cut["source_tokens_lost"] + cut["target_tokens_lost"]),
    )


def _show_problems(title: str, problems: Json) -> None:
    if not problems["listed"]:
        return
    typer.echo()
    rows = [
        (str(each["count"]), *_place(each), plain(each["found"]), plain(each["expected"] or ""))
        for each in problems["listed"]
    ]
    print_table(("COUNT", "RECORD", "LINE", "FIELD", "ALSO AT", "FOUND", "EXPECTED"), rows)
    num_listed = sum(each["count"] for each in problems["listed"])
    if (rest := problems["num_problems"] - num_listed) > 0:
        typer.echo(f"and {rest} more {title}")


def _place(problem: Json) -> tuple[str, str, str, str]:
    """Returns the cells of the first place, and a short form of the second."""
    record, line = _number(problem["record"]), _number(problem["line"])
    also = problem["also_at"]
    second = "" if also is None else f"record {also['record']}"
    if also is not None and also["record"] == problem["record"]:
        second = plain(also["field"] or "")
    return record, line, plain(problem["field"] or ""), second


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


_FILE_ID = re.compile(r"file-[0-9a-z]{26}")
_REPORTED = (0, 1)
_FAILED = 2
_POLL_SECONDS = 1.0
_WAIT_SECONDS = 20

app = typer.Typer(no_args_is_help=True, help="Conversation files.")

Tokens = Annotated[int | None, typer.Option(min=8, max=65536)]


@app.command("check")
def check(
    file: Annotated[
        str,
        typer.Argument(
            help="A local file, or the id of an uploaded file.", autocompletion=completion.file_ids
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Base model whose tokenizer counts the tokens: a directory or a name.",
            autocompletion=completion.model_ids,
        ),
    ] = None,
    model_max_length: Annotated[
        int, typer.Option(min=32, max=65536, help="Token limit for questions and answers.")
    ] = 2048,
    max_source_length: Tokens = None,
    max_target_length: Tokens = None,
    tokenization: Annotated[str, typer.Option(help="lossless or fastchat.")] = "lossless",
    skip_bad_records: Annotated[
        bool, typer.Option("--skip-bad-records", help="Skip bad records instead of failing.")
    ] = False,
    skip_missing_questions: Annotated[
        bool,
        typer.Option(
            "--skip-missing-questions",
            help="Skip answers without a preceding question.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check conversations record by record. Local files need no server.

    Exit code 1 if the file can't be used for training.
    """
    with reported(as_json=as_json):
        if tokenization not in ("lossless", "fastchat"):
            raise CommandError(f"--tokenization {tokenization}: expected lossless or fastchat")
        settings: dict[str, str | int | None] = {
            "model": model,
            "model_max_length": model_max_length,
            "max_source_length": max_source_length,
            "max_target_length": max_target_length,
            "tokenization": tokenization,
            "on_bad_record": "skip" if skip_bad_records else "fail",
            "on_missing_question": "skip" if skip_missing_questions else "train",
        }
        given = {name: value for name, value in settings.items() if value is not None}
        report = _report(file, given)
        if as_json:
            print_json(report)
        else:
            show_report(report)
        if not report["is_trainable"]:
            raise typer.Exit(1)


def _report(file: str, settings: dict[str, str | int]) -> Json:
    with Console(stderr=True).status(f"reading {file}"):
        if not Path(file).is_file() and _FILE_ID.fullmatch(file):
            with Client(ClientSettings()) as client:
                return _of_the_server(client, file, settings)
        return _of_a_local_file(Path(file), settings)


def _of_the_server(client: Client, file_id: str, settings: dict[str, str | int]) -> Json:
    while True:
        query = {**settings, "wait_seconds": _WAIT_SECONDS}
        report = client.get(f"/files/{file_id}/report", query)
        if report["status"] == "completed":
            return report
        time.sleep(_POLL_SECONDS)


def _of_a_local_file(path: Path, settings: dict[str, str | int]) -> Json:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "flant5_train.file_report", *options, "--", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in _REPORTED and done.stdout:
        report: Json = json.loads(done.stdout)
        return report
    if done.returncode == _FAILED and done.stdout:
        raise CommandError(json.loads(done.stdout)["message"])
    raise CommandError(
        f"the check failed with exit code {done.returncode}: {done.stderr.strip()[-1000:]}"
    )

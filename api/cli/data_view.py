"""Human-readable view of a file report."""

import typer

from api.cli.client import Json
from api.cli.views.format import plain, print_table, size


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

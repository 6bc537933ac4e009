"""`python -m tests.security`: sends all malformed inputs, lets Schemathesis look for more, and
writes the numbers of this run into docs/security.md."""

import re
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.security.campaign import Tally, faults_shown, sent_to
from tests.security.files_campaign import reported_files, sent_files
from tests.security.schemathesis_run import Verdict, run_schemathesis
from tests.security.server import running_server
from tests.stack.service import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "security.md"
_NUM_EXAMPLES = 40
_BLOCK = re.compile(r"(<!-- numbers -->\n).*(<!-- end of numbers -->)", re.DOTALL)


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server(Path(directory)) as server,
    ):
        victim = server.victim()
        before = server.state()
        tallies = [*sent_to(server, victim), sent_files(server), reported_files(server)]
        is_unchanged = server.state() == before
        verdict = run_schemathesis(server, num_examples=_NUM_EXAMPLES)
        has_traceback = "Traceback" in server.log
    print(faults_shown(tallies) or "no defects", "" if verdict.has_passed else verdict.text)
    text = DOCUMENT.read_text(encoding="utf-8")
    block = f"{table_of(tallies)}\n\n{sentences_of(tallies, verdict, is_unchanged=is_unchanged)}\n"
    DOCUMENT.write_text(_BLOCK.sub(lambda found: f"{found[1]}{block}{found[2]}", text), "utf-8")
    is_well = not faults_shown(tallies) and verdict.has_passed and is_unchanged
    return 0 if is_well and not has_traceback else 1


def table_of(tallies: Iterable[Tally]) -> str:
    """| class | sent | answers |"""
    rows = ["| inputs | sent | answers by status |", "|---|---|---|"]
    for tally in tallies:
        answers = ", ".join(
            f"{status}: {count:,}" for status, count in tally.statuses.most_common()
        )
        rows.append(f"| {tally.name} | {tally.num_sent:,} | {answers} |")
    return "\n".join(rows)


def sentences_of(tallies: Iterable[Tally], verdict: Verdict, *, is_unchanged: bool) -> str:
    total = sum(tally.num_sent for tally in tallies)
    errors = sum(
        count
        for tally in tallies
        for status, count in tally.statuses.items()
        if status.startswith("5") or status == "none"
    )
    defects = sum(len(tally.defects) for tally in tallies)
    cases, operations = verdict.report["test_cases"], verdict.report["operations"]
    left = "the same as before" if is_unchanged else "NOT the same as before"
    return (
        f"{total:,} malformed inputs on {datetime.now(UTC):%Y-%m-%d}: {errors} answers of 5xx or "
        f"none, {defects} answers of another shape;\n"
        f"files, uploads, jobs and Redis keys afterwards {left}.\n"
        f"Schemathesis {verdict.report['schemathesis_version']}: {cases['generated']:,} cases "
        f"over {operations['tested']} operations, {cases['with_failures']} failures."
    )


if __name__ == "__main__":
    sys.exit(main())

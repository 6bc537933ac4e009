"""More than ten thousand malformed inputs, sent to the API as it runs in production: each is
refused in words, and nothing is left of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flant5_train.file_report.checks import ReportRequest, examine
from tests.security.campaign import Tally, faults_shown, sent_to
from tests.security.corpus.contents import contents
from tests.security.files_campaign import reported_files, sent_files
from tests.security.schemathesis_run import run_schemathesis
from tests.security.server import Server, running_server
from tests.stack.service import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("attacked")) as server:
        yield server


def test_each_of_ten_thousand_malformed_inputs_is_refused_and_leaves_nothing(
    server: Server,
) -> None:
    victim = server.victim()
    before, num_open_files, pid = server.state(), server.num_open_files(), server.process.pid
    tallies: list[Tally] = [*sent_to(server, victim), sent_files(server), reported_files(server)]
    assert not faults_shown(tallies), faults_shown(tallies)
    assert sum(tally.num_sent for tally in tallies) >= 10_000
    # What was open belonged to connections that are closed by now, or will be in a moment.
    wait_until(lambda: server.num_open_files() <= num_open_files + 5, seconds=60)
    assert server.state() == before
    assert server.process.is_alive
    assert server.process.pid == pid
    assert "Traceback" not in server.log


def test_schemathesis_finds_nothing_against_our_own_description(server: Server) -> None:
    verdict = run_schemathesis(server, num_examples=20)
    assert verdict.has_passed, verdict.text[-6000:]
    operations = verdict.report["operations"]
    assert operations["tested"] == operations["total"] > 25
    assert verdict.report["test_cases"]["generated"] > 1000
    assert "Traceback" not in server.log


def test_every_file_that_is_no_conversation_has_a_report(tmp_path: Path) -> None:
    path = tmp_path / "file"
    report_request = ReportRequest(max_source_length=512, max_target_length=512)
    for content in contents():
        path.write_bytes(content)
        report = examine(path, report_request)
        assert report.bytes == len(content)
        assert report.problems.num_problems or report.is_trainable or not report.pairs, content

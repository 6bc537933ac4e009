"""`flant5 delete`: asks first, says what it freed, and names what it can't delete."""

import pytest

from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, flant5
from tests.api.ended_jobs import EndedJob, ended_job
from tests.api.terminal import in_terminal
from worker.jobs.store.store import JobStore


@pytest.fixture
def done(store: JobStore, settings: ApiSettings) -> EndedJob:
    return ended_job(store, settings.home_directories)


def test_each_kind_of_thing_is_deleted_by_its_id(server_url: str, done: EndedJob) -> None:
    for reference, says in (
        (f"{done.model}:ckpt-step-4", "1002 B freed"),
        (done.model, "1002 B freed"),
        (done.result_file, "freed"),
        (done.job.id, "KiB freed"),
    ):
        run = flant5("delete", reference, "--yes", url=server_url)
        assert run.out.startswith(f"deleted {reference}, "), run
        assert says in run.out
    assert not done.files.exist


def test_a_checkpoint_of_a_job_is_deleted_by_its_step(server_url: str, done: EndedJob) -> None:
    url = server_url
    run = flant5("delete", done.job.id, "--checkpoint", "8", "--yes", "--json", url=url)
    assert (run.code, run.document["step_number"], run.document["deleted"]) == (0, 8, True)
    assert not done.files.checkpoint(8).exists()
    assert done.files.checkpoint(4).exists()
    refused = flant5("delete", done.model, "--checkpoint", "4", "--yes", url=url)
    assert (refused.code, "expected exactly one job id" in refused.err) == (1, True)


def test_several_are_deleted_and_the_one_at_fault_is_named(
    server_url: str, store: JobStore, settings: ApiSettings, done: EndedJob
) -> None:
    url, other = server_url, ended_job(store, settings.home_directories)
    run = flant5("delete", done.job.id, "ftjob-nothing", other.job.id, "--yes", "--json", url=url)
    message = run.document["error"]["message"]
    assert run.code == 1
    assert "no job 'ftjob-nothing'" in message
    assert f"(already deleted: {done.job.id})" in message
    assert other.all_is_there()
    run = flant5("delete", other.job.id, other.model, "--yes", url=url)
    assert (run.code, other.files.exist) == (1, False)


def test_nothing_is_deleted_unasked(server_url: str, done: EndedJob) -> None:
    for options in ((), ("--json",)):
        run = flant5("delete", done.job.id, *options, url=server_url)
        said = run.document["error"]["message"] if options else run.err
        assert (run.code, "pass --yes to skip confirmation" in said) == (1, True)
    assert done.all_is_there()


def test_a_person_is_asked_and_told_how_much_goes(server_url: str, done: EndedJob) -> None:
    argv = [*FLANT5, "delete", done.job.id, done.result_file]
    for answer, says in ((b"n\n", "nothing was deleted"), (b"y\n", f"deleted {done.job.id}")):
        with in_terminal(argv, columns=120, url=server_url) as terminal:
            seen = terminal.wait_for("Delete? This can't be undone")
            assert f"{done.job.id}: succeeded, its model, checkpoints and history, 2.9 KiB" in seen
            assert f"{done.result_file}: step_metrics.csv, " in seen
            assert done.all_is_there()
            terminal.press(answer)
            assert says in terminal.end()


def test_what_is_no_id_of_a_deletable_thing_is_refused_before_anything_goes(
    server_url: str, done: EndedJob
) -> None:
    for reference in ("flant5-demo", "../x"):
        run = flant5("delete", done.job.id, reference, "--yes", url=server_url)
        assert (run.code, repr(reference) in run.err) == (1, True)
        assert "expected the id of a job" in run.err
    assert done.all_is_there()

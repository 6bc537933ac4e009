"""The command line against a real server; the test plays the worker."""

from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, flant5, line_of, started
from tests.api.scenes import claim_new_job, make_job
from worker.jobs.job import JobProgressState, JobSpec
from worker.jobs.store.serialization import Claim, NewLogLine, Succeeded, Update
from worker.jobs.store.store import JobStore

SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")


def test_submit_uploads_and_submits_with_typed_hyperparameters(
    server_url: str, store: JobStore, data: Path
) -> None:
    run = flant5(
        *("submit", data, "--validation", data, "--suffix", "math", "--seed", "7", "--json"),
        *("--priority", "-5", "--max-run-seconds", "60"),
        *("--set", "learning_rate=2e-5", "--set", "bf16=true"),
        *("--set", "lr_scheduler_type=linear"),
        url=server_url,
    )
    assert (run.code, run.err) == (0, "")
    spec = store.get(run.document["id"]).spec
    assert (spec.suffix, spec.seed, spec.model) == ("math", 7, "flant5-demo")
    assert (spec.priority, spec.max_run_seconds) == (-5, 60)
    hyperparameters = spec.hyperparameters
    assert (hyperparameters.learning_rate, hyperparameters.bf16) == (2e-5, True)
    assert hyperparameters.lr_scheduler_type == "linear"
    again = flant5("submit", spec.training_file, url=server_url)
    assert again.out.startswith("submitted ftjob-")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("submit", "none.json"), "none.json is neither a local file nor the id"),
        (("submit", "DATA", "--set", "lr"), "expected NAME=VALUE"),
        (
            ("submit", "DATA", "--set", "learning_rat=1"),
            "learning_rat: unknown field; did you mean 'learning_rate'?",
        ),
        (("job", "ftjob-none"), "no job 'ftjob-none'"),
        (("watch", "ftjob-none"), "no job 'ftjob-none'"),
        (("logs", "ftjob-none", "-f"), "no job 'ftjob-none'"),
        (("cancel", "ftjob-none"), "no job 'ftjob-none'"),
        (("pause", "ftjob-none"), "no job 'ftjob-none'"),
        (("resume", "ftjob-none"), "no job 'ftjob-none'"),
        (("jobs", "--metadata", "team"), "--metadata team: expected KEY=VALUE"),
        (("job", "ftjob-none"), "(see `flant5 jobs`)"),
        (("submit", "DATA", "--priority", "101"), "priority: input should be less than"),
        (("download", "ftjob-none", "x"), "no job 'ftjob-none'"),
    ],
)
def test_a_mistake_is_one_readable_line_and_exit_code_1(
    server_url: str, data: Path, args: tuple[str, ...], message: str
) -> None:
    with_data = [str(data) if arg == "DATA" else arg for arg in args]
    run = flant5(*with_data, url=server_url)
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith("flant5: ")
    assert message in run.err
    assert run.err.count("\n") == 1


def test_with_json_a_mistake_is_a_document_too(server_url: str) -> None:
    run = flant5("job", "ftjob-none", "--json", url=server_url)
    assert (run.code, run.err) == (1, "")
    assert "no job 'ftjob-none'" in run.document["error"]["message"]


def test_without_a_server_the_line_says_how_to_start_one() -> None:
    run = flant5("jobs", url="http://127.0.0.1:1/v1")
    assert run.code == 1
    assert "no response from http://127.0.0.1:1/v1" in run.err
    assert "flant5 up" in run.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://[::1"}, "FLANT5_URL is 'http://[::1', which is not a URL"),
        ({"api_key": "sch\u00fcssel"}, "FLANT5_API_KEY contains a character that keys can't have"),
        ({"api_key": "a\nb"}, "FLANT5_API_KEY contains a character that keys can't have"),
    ],
)
def test_a_setting_that_can_not_be_used_is_named(settings: dict[str, str], message: str) -> None:
    run = flant5("jobs", **settings)
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith(f"flant5: {message}")


def test_jobs_and_job_show_the_state_for_people_and_for_programs(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    waiting = make_job(store)
    progress = JobProgressState(step=12, max_steps=75, percent=16.0, loss=3.21, eta_seconds=65.0)
    store.leases.record(running_job, Update(phase="training", progress=progress))
    listed = flant5("jobs", url=server_url).out.splitlines()
    assert waiting.id in listed[1]
    assert "running: training  16 %  3.210  1m05s" in listed[2]
    page = flant5("jobs", "--limit", "1", "--json", url=server_url).document
    assert ([job["id"] for job in page["data"]], page["has_more"]) == ([waiting.id], True)
    shown = flant5("job", running_job.job.id, url=server_url).out
    assert "12 of 75" in shown
    assert "1m05s" in shown
    assert flant5("job", waiting.id, "--json", url=server_url).document["id"] == waiting.id


def test_jobs_are_found_by_status_and_metadata(server_url: str, store: JobStore) -> None:
    spec = JobSpec(model="flant5-demo", training_file="chats.json")
    of_team = [
        store.create(spec.model_copy(update={"metadata": {"team": "support", "run": str(number)}}))
        for number in range(3)
    ]
    other = make_job(store)
    for job in (of_team[0], of_team[2], other):
        store.cancel(job.id)

    def found(*options: str) -> tuple[list[str], bool]:
        page = flant5("jobs", "--json", *options, url=server_url).document
        return [job["id"] for job in page["data"]], page["has_more"]

    assert found("--status", "cancelled") == ([other.id, of_team[2].id, of_team[0].id], False)
    assert found("--status", "cancelled", "--limit", "1") == ([other.id], True)
    newest_first = [job.id for job in reversed(of_team)]
    assert found("--metadata", "team=support") == (newest_first, False)
    both = ("--metadata", "team=support", "--metadata", "run=1", "--status", "validating_files")
    assert found(*both, "--status", "failed") == ([of_team[1].id], False)
    assert found("--status", "failed") == ([], False)


def test_job_shows_what_a_queued_one_waits_for(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.accept(job.id)
    shown = flant5("job", job.id, url=server_url).out
    assert "a worker: none is online" in shown


def test_logs_print_lines_as_they_were_written(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    odd = ["{'loss': 3.2}", "  [bold]indented[/bold]", "日本語"]
    store.leases.record(running_job, Update(log_lines=tuple(NewLogLine(line) for line in odd)))
    assert flant5("logs", running_job.job.id, url=server_url).out.splitlines() == odd
    tail = flant5("logs", running_job.job.id, "--tail", "1", "--json", url=server_url)
    assert [line["line"] for line in tail.document] == odd[-1:]
    follow = [*FLANT5, "logs", running_job.job.id, "-f", "--tail", "1"]
    with started(follow, url=server_url) as following:
        assert line_of(following) == "日本語\n"
        store.leases.record(running_job, Update(log_lines=(NewLogLine("the end"),)))
        store.leases.finish(running_job, SUCCEEDED)
        assert following.communicate(timeout=30)[0] == "the end\n"
    assert following.returncode == 0


def test_models_and_download(
    server_url: str, store: JobStore, settings: ApiSettings, tmp_path: Path
) -> None:
    assert "flant5-demo" in flant5("models", url=server_url).out
    models = flant5("models", "--json", url=server_url).document
    assert [model["id"] for model in models["data"]] == ["flant5-demo"]
    claim = claim_new_job(store)
    output = settings.home_directories.run_directory(claim.job.id).output
    (output / "checkpoint-5").mkdir(parents=True)
    (output / "checkpoint-5" / "model.safetensors").write_bytes(b"checkpoint")
    early = flant5("download", claim.job.id, tmp_path / "early", url=server_url)
    assert (early.code, "no model yet" in early.err) == (1, True)
    weights = bytes(range(256)) * 5000
    (output / "model.safetensors").write_bytes(weights)
    (output / "config.json").write_text("{}")
    target = tmp_path / "new" / "model"
    run = flant5("download", claim.job.id, target, url=server_url)
    assert (run.code, run.out) == (0, f"downloaded 2 files (1.2 MiB) to {target}\n")
    assert {path.name for path in target.iterdir()} == {"model.safetensors", "config.json"}
    assert (target / "model.safetensors").read_bytes() == weights

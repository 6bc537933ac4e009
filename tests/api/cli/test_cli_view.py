"""`flant5 watch` and `flant5 jobs` as a person at a terminal sees them."""

import signal
import sys
from pathlib import Path
from typing import Any

from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, flant5, started
from tests.api.scenes import claim_new_job, wait_until
from tests.api.terminal import Terminal, in_terminal
from tests.ports import free_port
from worker.jobs.job import JobError, JobProgressState
from worker.jobs.store.serialization import Claim, Failed, NewEvent, NewLogLine, Succeeded, Update
from worker.jobs.store.store import JobStore

SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")
DOTS = {chr(code) for code in range(0x2801, 0x2900)}


def step(number: int, loss: float) -> NewEvent:
    data: dict[str, Any] = {"step": number, "max_steps": 100, "loss": loss}
    data |= {"tokens_per_second": 812.0, "eta_seconds": 3725.0}
    return NewEvent(f"Step {number}/100: training loss={loss}", type="metrics", data=data)


def train(store: JobStore, claim: Claim, *, first: int = 1, last: int = 40) -> None:
    """Steps with a falling loss, told as a worker does."""
    steps = tuple(step(number, 4.0 / number) for number in range(first, last + 1))
    phase = NewEvent("Training", data={"phase": "training"})
    store.leases.record(claim, Update(events=(phase, *steps), phase="training"))


def write(store: JobStore, claim: Claim, *lines: str) -> None:
    store.leases.record(claim, Update(log_lines=tuple(NewLogLine(line) for line in lines)))


def num_plot_lines(text: str) -> int:
    return sum(not DOTS.isdisjoint(line) for line in text.splitlines())


def test_the_view_shows_progress_loss_and_log_and_ends_with_the_job(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    train(store, running_job)
    write(store, running_job, *(f"line {number} of the log" for number in range(100)))
    with in_terminal([*FLANT5, "watch", running_job.job.id], url=server_url) as terminal:
        text = terminal.wait_for("running: training", "40/100", "40 %", "line 99 of the log")
        assert terminal.is_on_other_screen()
        assert terminal.lines[0].startswith(f"{running_job.job.id}  flant5-demo")
        assert "loss 0.100" in text
        assert "812 tokens/s" in text
        assert "1h0" in text
        assert num_plot_lines(text) >= 5
        assert "4.000" in text
        assert "the job continues" in terminal.lines[-1]
        evaluated: dict[str, Any] = {
            "step": 40,
            "eval_loss": 0.75,
            "eval_token_accuracy": 0.5,
            "eval_tokens": 9,
        }
        event = NewEvent("Step 40: validation loss=0.75", type="metrics", data=evaluated)
        store.leases.record(running_job, Update(events=(event,)))
        write(store, running_job, "one more line")
        terminal.wait_for("validation 0.750 (step 40)", "one more line")
        train(store, running_job, first=41, last=100)
        store.leases.finish(running_job, SUCCEEDED)
        text = terminal.end()
    assert not terminal.is_on_other_screen()
    assert terminal.process.returncode == 0
    assert "succeeded" in text
    assert "100/100" in text
    assert num_plot_lines(text) >= 5
    assert f"flant5 download {running_job.job.id}" in text


def test_the_view_is_drawn_anew_when_the_terminal_changes_its_size(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    train(store, running_job)
    write(store, running_job, "x" * 300)
    with in_terminal([*FLANT5, "watch", running_job.job.id], url=server_url) as terminal:
        terminal.wait_for("40/100", "x" * 79)
        terminal.resize(120, 50)
        terminal.wait_until(lambda _: "x" * 119 in terminal.text, what="lines of the new width")
        terminal.wait_until(lambda _: "the job continues" in terminal.lines[49], what="the footer")
        assert num_plot_lines(terminal.text) >= 15
        terminal.resize(20, 6)  # where next to nothing fits
        terminal.wait_until(lambda _: "Ctrl-C" in terminal.lines[5], what="the footer")
        terminal.resize(80, 24)
        terminal.wait_for("loss 0.100", "the job continues")


def test_ctrl_c_ends_the_view_and_not_the_job(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    train(store, running_job)
    with in_terminal([*FLANT5, "watch", running_job.job.id], url=server_url) as terminal:
        terminal.wait_for("40/100")
        terminal.press(b"\x03")
        text = terminal.end()
    assert f"the job continues; watch it with `flant5 watch {running_job.job.id}`" in text
    assert "Traceback" not in text
    assert not terminal.is_on_other_screen()
    assert terminal.process.returncode == 130
    assert store.get(running_job.job.id).status == "running"


def test_a_failure_leaves_its_reason_and_the_last_lines_of_the_log(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    with in_terminal([*FLANT5, "watch", running_job.job.id], url=server_url) as terminal:
        terminal.wait_for("running", "no steps yet")
        write(store, running_job, "ValueError: the very last line")
        store.leases.finish(running_job, Failed(JobError(code="bad_data", message="record 3")))
        text = terminal.end()
    assert terminal.process.returncode == 1
    assert "ValueError: the very last line" in text
    assert "record 3" in text
    assert "failed" in text


def test_what_others_wrote_does_not_steer_the_terminal(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    write(store, running_job, "a\x1b[2Jb\x07[bold]c[/bold]", "last")
    with in_terminal([*FLANT5, "watch", running_job.job.id], url=server_url) as terminal:
        assert "a\ufffd[2Jb\ufffd[bold]c[/bold]" in terminal.wait_for("last")


def test_the_view_says_that_the_server_is_away_and_goes_on_when_it_is_back(
    settings: ApiSettings, store: JobStore, running_job: Claim
) -> None:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/v1"
    api = [sys.executable, "-m", "api"]
    shared: dict[str, str | Path] = {
        "home": settings.home,
        "redis_url": settings.redis_url.get_secret_value(),
    }
    train(store, running_job)

    def go_on(terminal: Terminal) -> str:
        terminal.wait_for("server unreachable")
        train(store, running_job, first=41, last=77)
        write(store, running_job, "written while away")
        with started(api, port=port, **shared):
            terminal.wait_for("77/100", "written while away")
            terminal.wait_until(lambda text: "unreachable" not in text, what="the server")
            store.leases.finish(running_job, SUCCEEDED)
            return terminal.end()

    with started(api, port=port, **shared) as server:
        wait_until(
            lambda: flant5("models", url=url).code == 0, what="the server", timeout_seconds=60
        )
        with in_terminal([*FLANT5, "watch", running_job.job.id], url=url) as terminal:
            terminal.wait_for("40/100")
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
            assert "succeeded" in go_on(terminal)
    assert terminal.process.returncode == 0


def test_jobs_is_a_table_as_wide_as_the_terminal(server_url: str, store: JobStore) -> None:
    claim = claim_new_job(store)
    progress = JobProgressState(step=42, max_steps=100, percent=42.0, loss=3.21, eta_seconds=65.0)
    store.leases.record(claim, Update(phase="training", progress=progress))
    with in_terminal([*FLANT5, "jobs"], url=server_url) as terminal:
        narrow = terminal.end().splitlines()[1]
    # An id that is folded can't be copied.
    assert narrow.startswith(f"{claim.job.id}  flant5")
    assert narrow.endswith("  running: training  42 %  3.210  1m05s")
    with in_terminal([*FLANT5, "jobs"], columns=140, url=server_url) as terminal:
        assert "████░░░░░░  42 %" in terminal.end()

"""Completion of words, asked for by a real bash as it is installed there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.cli_runs import environment, flant5
from tests.api.scenes import make_job, wait_until
from worker.jobs.store.store import JobStore

_COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_flant5_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a user who has `flant5` and has installed its completion."""
    program = tmp_path / "bin" / "flant5"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom api.cli.main import app\napp()\n")
    program.chmod(0o755)
    # The shell is told by the process that started it: a lone command would take bash's place.
    installed = run_in_bash(tmp_path, "flant5 --install-completion; exit $?")
    assert "completion installed" in installed.stdout
    return tmp_path


def run_in_bash(
    home: Path, script: str, *words: str, url: str = "http://127.0.0.1:1/v1"
) -> subprocess.CompletedProcess[str]:
    path = f"{home}/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        env=environment(url=url) | {"HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def offered(home: Path, *words: str, url: str = "http://127.0.0.1:1/v1") -> list[str]:
    """What is offered for the last of the words; nothing else may appear."""
    (script,) = home.glob(".bash_completions/flant5.sh")
    done = run_in_bash(home, _COMPLETE, str(script), "flant5", *words, url=url)
    assert done.stderr == ""
    return done.stdout.split()


def wait_for_offer(home: Path, *words: str, url: str, wanted: list[str]) -> None:
    """On a machine that is busy the server may miss the moment it is given."""
    what = f"{wanted} for {words}"
    wait_until(lambda: offered(home, *words, url=url) == wanted, what=what, timeout_seconds=60)


def test_ids_come_from_the_server(home: Path, server_url: str, store: JobStore, data: Path) -> None:
    first, second = make_job(store), make_job(store)
    wait_for_offer(home, "watch", "ftjob-", url=server_url, wanted=[second.id, first.id])
    wait_for_offer(home, "cancel", first.id[:12], url=server_url, wanted=[first.id])
    wait_for_offer(
        home, "submit", "x.json", "--model", "fl", url=server_url, wanted=["flant5-demo"]
    )
    flant5("submit", data, url=server_url)
    file_id = store.list(after=None, limit=1).items[0].spec.training_file
    wait_for_offer(home, "submit", "file", url=server_url, wanted=[file_id])
    assert offered(home, "submit", "my", url=server_url) == [], "the shell offers local files then"


def test_commands_options_and_hyperparameters_need_no_server(home: Path) -> None:
    assert offered(home, "wat") == ["watch"]
    assert offered(home, "jobs", "--status", "ca") == ["cancelled"]
    assert offered(home, "submit", "x.json", "--set", "lora_r") == ["lora_rank="]


def test_without_a_server_nothing_is_offered_and_nothing_said(home: Path) -> None:
    assert offered(home, "watch", "ftjob-") == []
    assert offered(home, "watch", "ftjob-", url="http://[::1") == []


def test_a_server_that_does_not_answer_is_passed_over(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        assert offered(home, "watch", "ftjob-", url=url) == []

"""`flant5 up`: real processes, started, watched and ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from api.cli.stack.stack import Program, ServiceProcess
from api.cli.views.log import LogView
from tests.api.cli_runs import FLANT5, environment, flant5
from tests.api.scenes import CONVERSATIONS, wait_until
from worker.jobs.store import keys


@contextmanager
def up(
    home: Path, *options: str, **settings: str | Path
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A running `flant5 up` and what it says of itself."""
    with (home.parent / f"{home.name}.out").open("ab") as out:
        process = subprocess.Popen(
            [*FLANT5, "up", "--home", str(home), "--port", "0", *options],
            env=environment(**settings),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or announced(home).get("pid") == process.pid,
            what="flant5 up",
            timeout_seconds=60,
        )
        assert process.poll() is None, said(home)
        yield process, announced(home)
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not processes_of(home), what="its processes to end")


def announced(home: Path) -> dict[str, Any]:
    """What the last `flant5 up` that was ready wrote about itself."""
    try:
        ready: dict[str, Any] = json.loads((home / "up.json").read_text())
    except FileNotFoundError:
        return {}
    return ready


def said(home: Path) -> str:
    """All that `flant5 up` printed."""
    return (home.parent / f"{home.name}.out").read_text()


def processes_of(home: Path) -> dict[int, str]:
    """pid -> command line of every process that serves this HOME, zombies left out."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environ = (directory / "environ").read_bytes()
            opened = [os.readlink(link) for link in (directory / "fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile, or is not ours
        if f"FLANT5_HOME={home}\0".encode() in environ or str(home / "up.lock") in opened:
            found[int(directory.name)] = command
    return found


def pid_of(home: Path, module: str) -> int:
    return next(
        pid for pid, command in processes_of(home).items() if command.endswith(f"-m {module} ")
    )


def is_ready(url: str) -> bool:
    try:
        return httpx.get(url.replace("/v1", "/readyz"), timeout=5).is_success
    except httpx.TransportError:
        return False


def test_up_runs_everything_refuses_a_second_one_and_ends_everything(tmp_path: Path) -> None:
    home, webhooks = tmp_path / "home", tmp_path / "webhooks.toml"
    webhooks.touch()
    integrations = tmp_path / "integrations.toml"
    integrations.touch()
    with up(home, webhooks_file=webhooks, integrations_file=integrations) as (process, ready):
        assert ready["pid"] == process.pid
        assert ready["url"] in said(home)
        commands = " ".join(processes_of(home).values())
        modules = ["api", "worker ", "worker.controller", "worker.serving", "worker.webhooks"]
        modules.append("worker.integrations")
        for part in ("valkey-server", *(f"-m {module}" for module in modules)):
            assert part in commands

        second = flant5("up", "--home", home)
        assert second.code == 1
        assert f"another `flant5 up` (pid {process.pid}) uses {home}" in second.err

        data = tmp_path / "chats.json"
        data.write_bytes(CONVERSATIONS)
        job = flant5("submit", data, "--json", url=ready["url"]).document
        assert flant5("cancel", job["id"], url=ready["url"]).code == 0

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert processes_of(home) == {}
        assert not (home / "up.json").exists()
    assert {path.name for path in (home / "logs").iterdir()} == {
        "api.log",
        "integrations.log",
        "controller.log",
        "serve.log",
        "webhooks.log",
        "worker.log",
    }


def test_a_killed_up_takes_everything_along_and_the_next_one_knows_its_jobs(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    data = tmp_path / "chats.json"
    data.write_bytes(CONVERSATIONS)
    with up(home) as (process, ready):
        # More slots than the worker has: one with a job at hand would try for long to save it.
        waits = ("--set", "num_gpus=64")
        job = flant5("submit", data, "--json", *waits, url=ready["url"]).document
        flant5("cancel", job["id"], url=ready["url"])
        process.kill()
        process.wait()
        # The next one waits for what the killed one left.
        with up(home, "--json") as (_, again):
            assert again["pid"] != ready["pid"]
            jobs = flant5("jobs", "--json", url=again["url"]).document["data"]
            assert [each["id"] for each in jobs] == [job["id"]]


def test_a_process_that_dies_is_started_again_and_a_given_redis_is_used(
    tmp_path: Path, redis_url: SecretStr
) -> None:
    home = tmp_path / "home"
    with up(home, redis_url=redis_url.get_secret_value()) as (process, ready):
        assert not (home / "redis").exists()
        api = pid_of(home, "api")
        os.kill(api, signal.SIGKILL)
        wait_until(lambda: "api was killed by SIGKILL" in said(home), what="the news")
        wait_until(lambda: is_ready(ready["url"]), what="the API")
        assert pid_of(home, "api") != api
        assert "api restarted" in said(home)
        # Ctrl-C does the same as SIGTERM.
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_up_says_why_it_cannot_start(tmp_path: Path) -> None:
    open_to_all = flant5("up", "--home", tmp_path / "home", "--host", "0.0.0.0")
    assert (open_to_all.code, "no API keys are configured" in open_to_all.err) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = flant5("up", "--home", tmp_path / "home", "--port", port, "--json")
    assert run.code == 1
    assert f"can't listen on 127.0.0.1, port {port}" in run.document["error"]["message"]
    broken = flant5("up", "--home", tmp_path / "home", "--port", "0", worker_name="a b")
    assert broken.code == 1
    # The controller reads the same settings, and either may be the first to end.
    assert re.search(
        r"^flant5: (\w+) exited with code 2: the \1's settings are wrong", broken.err, re.M
    )
    assert processes_of(tmp_path / "home") == {}


def test_up_refuses_in_one_line_what_every_process_would_refuse(
    tmp_path: Path, redis: Redis, redis_url: SecretStr
) -> None:
    url = redis_url.get_secret_value()
    redis.set(keys.SERVICE, "service-of-others")
    found = {
        url: f"belongs to service service-of-others, but {tmp_path / 'home'} has no service id",
        url.removesuffix("/0") + "/4711": "has no database 4711",
        "sentinel://:secret@h": "sentinel:// is not supported",
    }
    for each, expected in found.items():
        run = flant5("up", "--home", tmp_path / "home", "--port", "0", redis_url=each)
        assert (run.code, len(run.err.splitlines())) == (1, 1), run.err
        assert expected in run.err
        assert "secret" not in run.err
    assert not (tmp_path / "home" / "logs").exists()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(
        name="worker",
        argv=(sys.executable, "-c", "print('hello'); raise SystemExit(3)"),
        environment={},
        log=tmp_path / "logs" / "worker.log",
        stop_seconds=1,
    )


def test_a_program_that_keeps_dying_is_started_less_and_less_often(program: Program) -> None:
    child = ServiceProcess(program, inherited=())
    child.start()
    news: list[str] = []

    def has_died_twice() -> bool:
        if text := child.keep_alive():
            news.append(text)
        return len(news) == 3

    wait_until(has_died_twice, what="two ends")
    assert news == [
        "worker exited with code 3; restarting in 0.5 s",
        "worker restarted",
        "worker exited with code 3; restarting in 1 s",
    ]
    assert program.log.read_text() == "hello\n" * 2


def test_the_view_shows_whole_new_lines_with_the_name_of_their_process(tmp_path: Path) -> None:
    seen: list[str] = []
    view, log = LogView(seen.append), tmp_path / "api.log"
    log.write_text("old\n")
    view.add("api", log)
    view.add("worker", tmp_path / "not-there-yet.log")
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        view.show_new_lines()
        file.write("o\n")
    view.show_new_lines()
    log.write_text("new\n")
    view.show_new_lines()
    assert seen == ["   api | one", "   api | two", "   api | new"]

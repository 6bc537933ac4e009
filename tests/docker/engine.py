"""A Docker engine with compose: the one that answers, else one installed and started here.

Installing takes root and Debian; anywhere else an engine has to be there.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands import run
from tests.debian import install

START_SECONDS = 60.0
PLUGINS = Path.home() / ".docker" / "cli-plugins"
PLUGIN_SUITE = "trixie"
"""The first Debian with compose v2 and buildx as packages; they hold just the two programs."""


class NoEngineError(Exception):
    """There is none and none could be started; the message says what was tried."""


@contextmanager
def docker_engine() -> Iterator[bool]:
    """An engine answers within the block; whether it is ours alone. Raises NoEngineError."""
    if _answers():
        _provide_plugins()
        yield False
        return
    _install()
    _provide_plugins()
    with tempfile.TemporaryFile() as log:
        engine = subprocess.Popen(
            ["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait_for(engine)
            yield True
        except NoEngineError as error:
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            raise NoEngineError(f"{error}; dockerd said: {said}") from error
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(START_SECONDS)


def _answers() -> bool:
    if shutil.which("docker") is None:
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngineError(
            "no Docker engine answers, and one can be installed here by root on Debian only; "
            "start an engine that this user may use (`docker info` has to work)"
        )
    if shutil.which("dockerd") is None:
        install("docker.io", "iptables")


def _wait_for(engine: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers():
        if engine.poll() is not None:
            raise NoEngineError(f"dockerd ended with exit code {engine.returncode}")
        if time.monotonic() > deadline:
            raise NoEngineError(f"dockerd does not answer after {START_SECONDS:g} s")
        time.sleep(0.2)


def _provide_plugins() -> None:
    """`docker compose` and `docker buildx`, from Debian's packages unless they are there."""
    missing = [name for name in ("compose", "buildx") if not _has_plugin(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NoEngineError(f"docker has no {' and no '.join(missing)} plugin; install it")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        options = _suite_options(place)
        run("apt-get", *options, "update", "-qq")
        packages = [f"docker-{name}" for name in missing]
        run("apt-get", *options, "download", *packages, cwd=place)
        PLUGINS.mkdir(parents=True, exist_ok=True)
        for package in place.glob("docker-*.deb"):
            run("dpkg", "-x", str(package), str(place / "files"))
        for program in place.glob("files/usr/libexec/docker/cli-plugins/*"):
            shutil.copy(program, PLUGINS)
    assert all(map(_has_plugin, missing)), f"docker finds no plugin in {PLUGINS}"


def _has_plugin(name: str) -> bool:
    command = ["docker", name, "version"]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def _suite_options(place: Path) -> list[str]:
    """For apt: packages of that suite alone, and nothing of this system is touched."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = f"deb [signed-by={keyring}] http://deb.debian.org/debian {PLUGIN_SUITE} main\n"
    (place / "sources.list").write_text(source)
    (place / "status").touch()
    (place / "lists" / "partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": place / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": place / "lists",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "APT::Sandbox::User": "root",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

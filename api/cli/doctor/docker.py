"""Checks of Docker: engine, Compose version, free disk space, containers, and shared memory.

The containers of the deployment are checked with Docker Compose. The ranks of a trainer need the
shared memory.
"""

import json
import os
from pathlib import Path
from typing import Any

from api.cli.doctor.check import (
    Finding,
    Host,
    ProgramError,
    ProgramMissingError,
    ProgramOutput,
    ask,
    dotted,
    failed,
    fine,
    not_applicable,
    version_in,
    warning,
)
from api.cli.views.format import size

MIN_ENGINE = (20, 10)
"""The oldest engine on which the images were built and run."""
MIN_COMPOSE = (2, 24, 4)
"""The first version in which `!override` replaces values of another file, such as the worker's
GPUs (docs.docker.com/reference/compose-file/merge)."""
LOW_BYTES = 10 * 2**30
WISHED_BYTES = 40 * 2**30
"""Disk space for builds. The worker's image contains torch with CUDA, in several build layers."""

_INSTALL = "install Docker's own packages: docs/deploy.md"
_START = "sudo systemctl enable --now docker"


class EngineError(Exception):
    """The engine is unavailable. `finding` contains the reason and a fix."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


def check_engine(host: Host) -> Finding:
    """Checks that the engine is reachable for this user, and its version."""
    try:
        answer = _asked("docker", "version", "--format", "{{json .}}", host=host)
    except EngineError as error:
        return error.finding
    text = str((_document(answer.out).get("Server") or {}).get("Version", ""))
    version = version_in(text)
    if version is None:
        return _silent(answer)
    if version < MIN_ENGINE:
        return failed(
            f"Docker engine {text}",
            expected=f"{dotted(MIN_ENGINE)} or newer",
            remedy=_INSTALL,
        )
    return fine(f"Docker engine {text}")


def check_compose(host: Host) -> Finding:
    """Checks that Docker Compose supports the syntax of the compose files."""
    expected = f"Docker Compose {dotted(MIN_COMPOSE)} or newer, which supports !override"
    try:
        answer = ask("docker", "compose", "version", "--short")
    except ProgramMissingError:
        return _no_program(host)
    except ProgramError as error:
        return failed(str(error), expected=expected, remedy=_START)
    version = version_in(answer.out)
    remedy = "sudo apt-get install docker-compose-plugin"
    if answer.code != 0 or version is None:
        # Errors of a `docker` without the plugin, which parses the arguments itself.
        is_missing = "unknown flag" in answer.err or "not a docker command" in answer.err
        broken = f"Docker Compose does not work: {answer.message}"
        found = "Docker Compose plugin not found" if is_missing else broken
        return failed(found, expected=expected, remedy=remedy)
    if version < MIN_COMPOSE:
        return failed(f"Docker Compose {answer.out.strip()}", expected=expected, remedy=remedy)
    return fine(f"Docker Compose {answer.out.strip()}")


def check_data_root(host: Host) -> Finding:
    """Checks the free space of the disk with images, containers and volumes."""
    try:
        root = Path(engine_info(host)["DockerRootDir"])
    except EngineError as error:
        return not_applicable(f"cannot query the engine: {error}")
    try:
        disk = os.statvfs(root)
    except OSError as error:
        return not_applicable(
            f"the engine's directory {root} is not accessible from here ({error.strerror})"
        )
    free = disk.f_bavail * disk.f_frsize
    found = f"{size(free)} free in {root}"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)} to build the images, which contain torch with CUDA",
        remedy="docker builder prune (docker system df shows the usage), or use a larger disk",
    )


def engine_info(host: Host) -> dict[str, Any]:
    """Returns the output of `docker info`. Raises EngineError."""
    answer = _asked("docker", "info", "--format", "{{json .}}", host=host)
    info = _document(answer.out)
    if not info.get("ServerVersion"):
        raise EngineError(_silent(answer))
    return info


def _asked(*argv: str, host: Host) -> ProgramOutput:
    try:
        return ask(*argv)
    except ProgramMissingError as error:
        raise EngineError(_no_program(host)) from error
    except ProgramError as error:
        finding = failed(str(error), expected="a responsive engine", remedy=_RESTART)
        raise EngineError(finding) from error


_RESTART = "sudo systemctl restart docker; `journalctl -u docker` shows its log"


def _no_program(host: Host) -> Finding:
    if host.in_container:
        return not_applicable("not available inside a container")
    return failed(
        "`docker` is not on PATH",
        expected=f"Docker engine {dotted(MIN_ENGINE)} or newer with Docker Compose",
        remedy=f"{_INSTALL}; or run the service without containers by `flant5 up`",
    )


def _silent(answer: ProgramOutput) -> Finding:
    if "permission denied" in answer.err.lower():
        return failed(
            f"this user has no access to Docker: {answer.message}",
            expected="a user in the group docker (equivalent to root)",
            remedy='sudo usermod -aG docker "$USER", then log in again; or use sudo',
        )
    return failed(
        f"Docker daemon not reachable: {answer.message}",
        expected="a running engine, at the address in DOCKER_HOST if that is set",
        remedy=f"{_START}; `docker context ls` shows which engine is used",
    )


def _document(text: str) -> dict[str, Any]:
    """Parses a JSON object; returns {} for anything else, whose error output is shown instead."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


COMPOSE_FILE = "docker-compose.yml"
PARTS = ("redis", "api", "controller", "worker")
"""Name prefixes of the required services. The worker's name depends on the kind of host."""


def check_containers(directory: Path) -> Finding:
    """Checks that all services run and are healthy."""
    try:
        if not (directory / COMPOSE_FILE).is_file():
            return not_applicable(f"no {COMPOSE_FILE} in {directory.absolute()}")
        answer = ask("docker", "compose", "ps", "--all", "--format", "json", directory=directory)
    except (ProgramMissingError, ProgramError, PermissionError) as error:
        return not_applicable(f"cannot query Docker Compose: {error}")
    if answer.code != 0:
        return not_applicable(f"cannot query Docker Compose: {answer.message}")
    containers = _documents(answer.out)
    if not containers:
        return not_applicable("not started yet: docker compose up -d --build --wait")
    states = sorted(f"{container['Service']} {_state(container)}" for container in containers)
    found = ", ".join(states)
    bad = sorted({str(each["Service"]) for each in containers if not _is_well(each)})
    if bad:
        remedy = f"docker compose logs --tail 50 {' '.join(bad)}"
        return failed(found, expected="all running and healthy", remedy=remedy)
    running = [str(container["Service"]) for container in containers]
    missing = [part for part in PARTS if not any(name.startswith(part) for name in running)]
    if missing:
        return warning(
            f"{found}; no {', no '.join(missing)}",
            expected=f"{', '.join(PARTS)}",
            remedy="docker compose up -d --wait; COMPOSE_PROFILES in .env selects the worker",
        )
    return fine(found)


def _state(container: dict[str, Any]) -> str:
    return str(container.get("Health") or container.get("State"))


def _is_well(container: dict[str, Any]) -> bool:
    return container.get("State") == "running" and container.get("Health") != "unhealthy"


def _documents(text: str) -> list[dict[str, Any]]:
    """Parses compose output: one document per line, or one array in other versions."""
    documents = []
    for line in text.splitlines():
        if line.strip():
            document = json.loads(line)
            documents += document if isinstance(document, list) else [document]
    return documents


MIN_BYTES = 2**30
"""Minimum size. The default of containers, 64 MiB, is too little for NCCL and for batches from
data loader processes."""


def check_shared_memory(directory: Path, *, host: Host, trains_here: bool) -> Finding:
    """Checks that `/dev/shm` is large enough if a trainer can run on this host."""
    if not trains_here:
        return not_applicable("torch is not installed; compose sets the size for its containers")
    try:
        disk = os.statvfs(directory)
    except OSError as error:
        return failed(
            f"{directory}: {error.strerror}",
            expected="a tmpfs",
            remedy=f"sudo mount -t tmpfs -o size=8g tmpfs {directory}",
        )
    total = disk.f_blocks * disk.f_frsize
    found = f"{size(total)} in {directory}"
    if total >= MIN_BYTES:
        return fine(found)
    expected = f"at least {size(MIN_BYTES)}: NCCL and data loading use it"
    if host.in_container:
        return failed(found, expected=expected, remedy="FLANT5_SHM_SIZE=8g in .env (--shm-size)")
    remedy = f"sudo mount -o remount,size=8g {directory}"
    return warning(found, expected=expected, remedy=remedy)

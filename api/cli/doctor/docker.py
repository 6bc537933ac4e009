"""The container engine: it answers, compose is new enough, and its disk has room."""

import json
import os
from pathlib import Path
from typing import Any

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.program import (
    Answer,
    ProgramError,
    ProgramMissingError,
    ask,
    dotted,
    version_in,
)
from api.cli.doctor.surroundings import Host
from api.cli.printing import size

MIN_ENGINE = (20, 10)
"""The oldest engine that the images were built and run on."""
MIN_COMPOSE = (2, 24, 4)
"""From here on `!override` replaces what another file set, such as the worker's GPUs
(docs.docker.com/reference/compose-file/merge)."""
LOW_BYTES = 10 * 2**30
WISHED_BYTES = 40 * 2**30
"""The worker's image has torch with its CUDA libraries, and a build holds it more than once."""

_INSTALL = "install Docker's own packages: docs/deploy.md"
_START = "sudo systemctl enable --now docker"


class EngineError(Exception):
    """The engine can't be asked; `finding` says why and what to do."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


def check_engine(host: Host) -> Finding:
    """Docker answers to this user."""
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
    """Compose understands our files."""
    expected = f"compose {dotted(MIN_COMPOSE)} or newer, which knows !override"
    try:
        answer = ask("docker", "compose", "version", "--short")
    except ProgramMissingError:
        return _no_program(host)
    except ProgramError as error:
        return failed(str(error), expected=expected, remedy=_START)
    version = version_in(answer.out)
    remedy = "sudo apt-get install docker-compose-plugin"
    if answer.code != 0 or version is None:
        # What `docker` says when it has no such plugin: it takes the words for its own.
        is_missing = "unknown flag" in answer.err or "not a docker command" in answer.err
        found = "Docker has no compose" if is_missing else f"compose does not work: {answer.said}"
        return failed(found, expected=expected, remedy=remedy)
    if version < MIN_COMPOSE:
        return failed(f"compose {answer.out.strip()}", expected=expected, remedy=remedy)
    return fine(f"compose {answer.out.strip()}")


def check_data_root(host: Host) -> Finding:
    """The disk with images, containers and volumes has room."""
    try:
        root = Path(engine_info(host)["DockerRootDir"])
    except EngineError as error:
        return not_applicable(f"the engine can't be asked: {error}")
    try:
        disk = os.statvfs(root)
    except OSError as error:
        return not_applicable(
            f"{root} of the engine is not to be seen from here ({error.strerror})"
        )
    free = disk.f_bavail * disk.f_frsize
    found = f"{size(free)} free in {root}"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)} to build the images, which hold torch and CUDA's libraries",
        remedy="docker builder prune (docker system df shows what is there), or a larger disk",
    )


def engine_info(host: Host) -> dict[str, Any]:
    """`docker info` as it is. Raises EngineError."""
    answer = _asked("docker", "info", "--format", "{{json .}}", host=host)
    info = _document(answer.out)
    if not info.get("ServerVersion"):
        raise EngineError(_silent(answer))
    return info


def _asked(*argv: str, host: Host) -> Answer:
    try:
        return ask(*argv)
    except ProgramMissingError as error:
        raise EngineError(_no_program(host)) from error
    except ProgramError as error:
        finding = failed(str(error), expected="an engine that answers", remedy=_RESTART)
        raise EngineError(finding) from error


_RESTART = "sudo systemctl restart docker; `journalctl -u docker` says more"


def _no_program(host: Host) -> Finding:
    if host.in_container:
        return not_applicable("inside a container there is no engine to ask")
    return failed(
        "no program `docker` on PATH",
        expected=f"Docker engine {dotted(MIN_ENGINE)} or newer with compose",
        remedy=f"{_INSTALL}; without containers, `flant5 up` runs the service",
    )


def _silent(answer: Answer) -> Finding:
    if "permission denied" in answer.err.lower():
        return failed(
            f"this user may not talk to Docker: {answer.said}",
            expected="a user in the group docker (which is as good as root)",
            remedy='sudo usermod -aG docker "$USER", then log in again; or use sudo',
        )
    return failed(
        f"no engine answers: {answer.said}",
        expected="a running engine, at the address in DOCKER_HOST if that is set",
        remedy=f"{_START}; `docker context ls` shows which engine is asked",
    )


def _document(text: str) -> dict[str, Any]:
    """Empty for what is no JSON object: the program's complaint says more."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}

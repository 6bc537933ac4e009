"""Checks the containers of the deployment with Docker Compose."""

import json
from pathlib import Path
from typing import Any

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.program import ProgramError, ProgramMissingError, ask

COMPOSE_FILE = "docker-compose.yml"
PARTS = ("redis", "api", "keeper", "worker")
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
        return not_applicable(f"cannot query Docker Compose: {answer.said}")
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

"""Programs that behave as `docker`, `nvidia-smi` and others do on hosts that are not at hand."""

import json
from pathlib import Path
from typing import Any

from api.cli.doctor.check import Host

PLAIN = Host(in_container=False, has_card=False)
WITH_GPU = Host(in_container=False, has_card=True)
CONTAINER = Host(in_container=True, has_card=False)

DOCKER = """
case "$1 $2" in
  "version "*) echo '{"Client": {}, "Server": {"Version": "28.2.2"}}' ;;
  "info "*) echo '@INFO@' ;;
  "compose version") echo '2.39.1' ;;
  "compose ps") echo '@CONTAINERS@' ;;
esac
"""
SMI = 'echo "580.95.05, 81559 MiB, NVIDIA H100 80GB HBM3"'

REFUSES_THE_USER = """
echo 'permission denied while trying to connect to the Docker daemon socket' >&2
echo '{"Client": {"Version": "28.2.2"}, "Server": null}'
exit 1
"""
FINDS_NO_ENGINE = """
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2
echo '{"ServerVersion": "", "ServerErrors": ["Cannot connect"]}'
exit 1
"""


def put(directory: Path, name: str, script: str) -> Path:
    """A program of that name."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def put_docker(directory: Path, *, containers: str = "", **info: Any) -> None:
    """A good engine, with what `docker info` says beside the usual."""
    usual = {"ServerVersion": "28.2.2", "DockerRootDir": str(directory), "Runtimes": {"runc": {}}}
    script = DOCKER.replace("@INFO@", json.dumps(usual | info)).replace("@CONTAINERS@", containers)
    put(directory, "docker", script)


def container(service: str, *, state: str = "running", health: str = "healthy") -> dict[str, str]:
    """As `docker compose ps` describes it."""
    return {"Service": service, "State": state, "Health": health}

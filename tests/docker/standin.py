"""Stand-ins for the images that can't be pulled where no image registry is reached: a minimal
Debian as the base of ours, and on it a Redis server and Prometheus.

They are made by debootstrap. The host's certificates go in, so that packages can be installed
wherever the host can install them.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.commands import run
from tests.debian import install

BASE = "flant5-test-base"
REDIS = "flant5-test-redis"
PROMETHEUS = "flant5-test-prometheus"
SUITE = "bookworm"
PYTHON = "3.11"
"""Of that suite."""

_TRUST = "/etc/ssl/certs/ca-certificates.crt"
_BASE = f"""
FROM {BASE}:bare
COPY certificates {_TRUST}
ENV PIP_CERT={_TRUST} SSL_CERT_FILE={_TRUST}
"""
_REDIS = f"""
FROM {BASE}
RUN apt-get update -qq \\
    && apt-get install --yes -qq --no-install-recommends redis-server \\
    && ln -s /usr/bin/redis-server /usr/bin/valkey-server \\
    && ln -s /usr/bin/redis-cli /usr/bin/valkey-cli \\
    && install --directory --owner=999 --group=999 /data
VOLUME /data
"""
_PROMETHEUS = f"""
FROM {BASE}
RUN apt-get update -qq \\
    && apt-get install --yes -qq --no-install-recommends prometheus \\
    && install --directory --owner=65534 --group=65534 /prometheus
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
"""


def build_standins() -> None:
    """Makes those that are not there."""
    if not has_image(f"{BASE}:bare"):
        _bootstrap()
    if not has_image(BASE):
        with tempfile.TemporaryDirectory() as context:
            certificates = Path(os.environ.get("SSL_CERT_FILE", _TRUST))
            shutil.copy(certificates, Path(context, "certificates"))
            Path(context, "Dockerfile").write_text(_BASE)
            run("docker", "build", "--quiet", "--tag", BASE, context)
    for name, dockerfile in ((REDIS, _REDIS), (PROMETHEUS, _PROMETHEUS)):
        if not has_image(name):
            run("docker", "build", "--quiet", "--tag", name, "-", input=dockerfile)


def has_image(name: str) -> bool:
    command = ["docker", "image", "inspect", name]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _bootstrap() -> None:
    if shutil.which("debootstrap") is None:
        install("debootstrap")
    include = "--include=ca-certificates,python3,python3-venv"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "root")
        run("debootstrap", "--variant=minbase", include, SUITE, str(root))
        with tempfile.TemporaryFile() as archive:
            subprocess.run(["tar", "-C", str(root), "-c", "."], stdout=archive, check=True)
            archive.seek(0)
            run("docker", "import", "-", f"{BASE}:bare", stdin=archive)

"""Debian's nginx with the configuration that docs/deploy.md shows."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands import run
from tests.debian import install
from tests.ports import free_port
from tests.worker.scenes import wait_until

_DOCUMENT = Path(__file__).parents[2] / "docs" / "deploy.md"
_MAIN = """
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{}}
http {{
access_log off;
client_body_temp_path {directory}/body;
proxy_temp_path {directory}/proxy;
fastcgi_temp_path {directory}/fastcgi;
uwsgi_temp_path {directory}/uwsgi;
scgi_temp_path {directory}/scgi;
{http}
}}
"""


@contextmanager
def nginx(directory: Path, *, upstream_port: int, is_under_path: bool) -> Iterator[str]:
    """Yields the address of an nginx with TLS on an odd port in front of a server: at its root, or
    under /ai."""
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        _MAIN.format(
            directory=directory,
            http=_documented(
                directory, port=port, upstream_port=upstream_port, is_under_path=is_under_path
            ),
        )
    )
    process = subprocess.Popen([_program(), "-c", str(config), "-p", str(directory)])
    url = f"https://127.0.0.1:{port}"
    try:
        wait_until(lambda: _listens(process, directory), seconds=60)
        yield f"{url}/ai" if is_under_path else url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _documented(directory: Path, *, port: int, upstream_port: int, is_under_path: bool) -> str:
    """Returns the blocks of the document with the names of this machine in them."""
    whole: str
    under_path: str
    whole, under_path = re.findall(r"```nginx\n(.*?)```", _DOCUMENT.read_text("utf-8"), re.DOTALL)
    if is_under_path:
        whole = re.sub(r"    location / \{.*?\n    \}\n", lambda _: under_path, whole, flags=re.S)
    certificate = _certificate(directory)
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/flant5/fullchain.pem": str(certificate),
        "/etc/ssl/flant5/privkey.pem": str(certificate),
        "http://127.0.0.1:8000": f"http://127.0.0.1:{upstream_port}",
    }
    for shown, here in replaced.items():
        assert shown in whole, shown
        whole = whole.replace(shown, here)
    return whole


def _certificate(directory: Path) -> Path:
    """Makes one file with a certificate for 127.0.0.1 and its key."""
    key, path = directory / "key.pem", directory / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    run("openssl", "req", *options, *subject, "-keyout", str(key), "-out", str(path))
    path.write_text(path.read_text() + key.read_text())
    return path


def _program() -> str:
    if shutil.which("nginx") is None:
        install("nginx-light", "openssl")
    return shutil.which("nginx") or "/usr/sbin/nginx"


def _listens(process: subprocess.Popen[bytes], directory: Path) -> bool:
    log = directory / "error.log"
    assert process.poll() is None, log.read_text() if log.exists() else "nginx ended"
    return (directory / "pid").exists()

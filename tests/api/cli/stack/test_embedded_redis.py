"""The embedded server: found, started, reachable only from here, durable, gone with its owner."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.cli.stack.redis import EmbeddedRedis, EmbeddedRedisError
from tests.worker.scenes import is_alive, wait_until
from worker.jobs.store.redis import open_redis

OWNER = """
import sys
from pathlib import Path
from api.cli.stack.redis import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_what_was_written_is_there_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, password=SecretStr("pass word")) as server:
        url = server.url
        with open_redis(url) as redis:
            redis.set("key", "value")
            server.kill()
            server.start()
            assert server.url == url
            assert redis.get("key") == "value"


def test_the_password_is_not_on_the_command_line(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, password=SecretStr("s3cret")) as server:
        assert b"s3cret" not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


def test_the_server_listens_on_the_loopback_address_only(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, open_redis(server.url) as redis:
        assert redis.config_get("bind") == {"bind": "127.0.0.1"}
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_stopped_server_is_gone(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    pid = server.process.pid
    server.stop()
    assert not is_alive(pid)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "first") as first:
        port = int(first.url.get_secret_value().rpartition(":")[2].partition("/")[0])
        second = EmbeddedRedis(tmp_path / "second", port=port)
        with pytest.raises(EmbeddedRedisError, match=r"did not start.*Address already in use"):
            second.start()


def test_the_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    wait_until(lambda: not is_alive(pid), what="the server ends")

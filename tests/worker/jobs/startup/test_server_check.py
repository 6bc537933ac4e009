"""Real servers of all kinds: each works for all clients, or is refused by one sentence."""

import asyncio
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.ports import free_port
from tests.redis_servers import certificates, old_server, server, tls
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.startup.server_check import COMMANDS, _refusals, check_server
from worker.jobs.store import keys
from worker.jobs.store.notify import TASK, JobNotifier, celery_app
from worker.jobs.store.redis import open_async_redis, open_redis

LUA = Path(__file__).parents[4] / "worker" / "jobs" / "lua"
PASSWORD = "p@ss/w#rd:%"
ENCODED = "p%40ss%2Fw%23rd%3A%25"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Path]:
    """One server at a TCP port and a unix socket, with a password."""
    directory = tmp_path_factory.mktemp("server")
    with server(
        directory, f"port {port}", "bind 127.0.0.1 -::1", f'requirepass "{PASSWORD}"'
    ) as path:
        yield path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_port(socket: Path, authority: Path) -> Iterator[int]:
    with tls(authority, socket) as port:
        yield port


FORMS = {
    "database": "redis://:{pw}@127.0.0.1:{port}/5",
    "protocol 2": "redis://:{pw}@127.0.0.1:{port}/0?protocol=2",
    "protocol 3": "redis://:{pw}@127.0.0.1:{port}/0?protocol=3",
    "options": "redis://:{pw}@127.0.0.1:{port}?health_check_interval=3&client_name=us&db=2",
    "valkey": "valkey://default:{pw}@localhost:{port}/0",
    "IPv6": "redis://:{pw}@[::1]:{port}/0",
    "unix": "unix://:{pw}@{socket}?db=3",
    "unix with a password in the query": "unix://{socket}?db=3&password={pw}&protocol=3",
    "TLS": "rediss://:{pw}@127.0.0.1:{tls_port}/1?ssl_ca_certs={authority}/ca.pem",
    "TLS of Valkey": "valkeys://:{pw}@localhost:{tls_port}/1?ssl_ca_certs={authority}/ca.pem",
    "TLS unverified": "rediss://:{pw}@127.0.0.1:{tls_port}/1?ssl_cert_reqs=none",
}


@pytest.fixture(params=FORMS)
def url(
    request: pytest.FixtureRequest, socket: Path, port: int, tls_port: int, authority: Path
) -> SecretStr:
    form = FORMS[request.param]
    return SecretStr(
        form.format(pw=ENCODED, port=port, socket=socket, tls_port=tls_port, authority=authority)
    )


def test_each_form_of_url_works_for_all_clients(url: SecretStr) -> None:
    check_server(url)
    with open_redis(url) as redis:
        redis.flushdb()
        redis.set("flant5:seen", "yes")
        # Another client and another database would not see it.
        assert asyncio.run(read(url, "flant5:seen")) == "yes"
        notifier = JobNotifier(url)
        assert notifier.notify("ftjob-1")
        notifier.close()
        assert redis.llen(keys.NOTIFICATIONS) == 1
        assert set(map(str, redis.keys("*"))) <= set(map(str, redis.keys(f"{keys.PREFIX}*")))
        assert taken(url) == ["ftjob-1"]


async def read(url: SecretStr, key: str) -> object:
    redis = open_async_redis(url, timeout_seconds=5, max_connections=1, patience_seconds=5)
    try:
        return await redis.get(key)
    finally:
        await redis.aclose()


def taken(url: SecretStr) -> list[str]:
    """The arguments of the next doorbell, as Celery's worker takes it."""
    app = celery_app("test", url, socket_timeout_seconds=5)
    bells: list[str] = []
    with (
        app.connection_for_read() as connection,
        app.amqp.TaskConsumer(
            connection.default_channel, on_message=lambda message: bells.append(message)
        ),
    ):
        connection.drain_events(timeout=5)
        (message,) = bells
        message.ack()  # type: ignore[attr-defined]
        assert message.headers["task"] == TASK  # type: ignore[attr-defined]
        arguments: list[str] = message.decode()[0]  # type: ignore[attr-defined]
    return arguments


def refused(url: str, *, password: str = PASSWORD) -> str:
    with pytest.raises(StartRefusedError) as error:
        check_server(SecretStr(url))
    assert password not in str(error.value)
    assert ENCODED not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_wrong_password_is_refused(port: int, socket: Path) -> None:
    for url in (
        f"redis://127.0.0.1:{port}/0",
        f"redis://:wrong@127.0.0.1:{port}/0",
        f"redis://:wrong@127.0.0.1:{port}/0?protocol=2",
        f"redis://nobody:wrong@127.0.0.1:{port}/0",
        f"unix://{socket}",
    ):
        message = refused(url, password="wrong")
        assert "refuses the login" in message, url
        assert "FLANT5_REDIS_PASSWORD_FILE" in message


def test_a_database_that_is_not_there_is_refused(port: int, socket: Path) -> None:
    for url in (f"redis://:{ENCODED}@127.0.0.1:{port}/16", f"unix://:{ENCODED}@{socket}?db=16"):
        assert "has no database 16" in refused(url)


def test_a_certificate_that_is_not_trusted_is_refused(tls_port: int) -> None:
    untrusted = refused(f"rediss://:{ENCODED}@127.0.0.1:{tls_port}/0")
    assert "ssl_ca_certs" in untrusted


def test_a_server_without_tls_is_named_where_it_says_nothing(port: int, authority: Path) -> None:
    url = f"rediss://:{ENCODED}@127.0.0.1:{port}/0?ssl_ca_certs={authority}/ca.pem"
    with pytest.raises(StoreUnavailableError, match="rediss:// uses TLS"):
        check_server(SecretStr(url))


def test_nobody_there_is_not_refused_but_waited_for(tmp_path: Path) -> None:
    for url in (f"redis://127.0.0.1:{free_port()}/0", f"unix://{tmp_path}/no.sock"):
        with pytest.raises(StoreUnavailableError):
            check_server(SecretStr(url))


class _Web(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_server_that_is_none_of_redis_is_refused() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Web) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            message = refused(f"redis://127.0.0.1:{web.server_address[1]}/0")
        finally:
            web.shutdown()
            thread.join()
    assert "does not speak the Redis protocol" in message


SERVERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a server in cluster mode": (("cluster-enabled yes",), "", "in cluster mode"),
    "a replica": (("replicaof 127.0.0.1 9",), "", "is a replica of 127.0.0.1:9"),
    "no scripts": (('rename-command EVAL ""',), "", "can't run the scripts of flant5"),
    "no scripts by their digest": (
        ('rename-command EVALSHA ""',),
        "",
        "can't run the scripts of flant5",
    ),
    "no INFO": (('rename-command INFO ""',), "", "refuses the first commands"),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_can_not_work_is_refused(kind: str, tmp_path: Path) -> None:
    lines, mode, expected = SERVERS[kind]
    port = free_port()
    with server(tmp_path, f"port {port}", *lines, mode=mode):
        assert expected in refused(f"redis://127.0.0.1:{port}/0")


def test_a_sentinel_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path, f"port {port}", mode="--sentinel"):
        assert "is a sentinel" in refused(f"redis://127.0.0.1:{port}/0")


def test_a_server_before_7_0_is_refused_with_both_versions(tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path, f"port {port}", program=old_server()):
        message = refused(f"redis://127.0.0.1:{port}/0")
    assert re.search(r"Redis 6\.2\.\d+ at 127\.0\.0\.1:\d+ is too old; expected 7\.0", message)


def test_a_server_whose_info_lacks_its_version_is_not_called_too_old() -> None:
    assert list(_refusals({"redis_mode": "standalone"}, "managed:6379")) == []


@pytest.fixture
def user(socket: Path, port: int) -> Callable[..., str]:
    """Makes a user with these rules of an ACL; gives the URL of the server for that user."""

    def make(*rules: str) -> str:
        with Redis(unix_socket_path=str(socket), password=PASSWORD) as admin:
            admin.execute_command("ACL", "SETUSER", "us", "reset", "on", ">pw", *rules)
        return f"redis://us:pw@127.0.0.1:{port}/0"

    return make


def test_a_narrow_acl_is_refused_with_what_it_lacks(user: Callable[..., str]) -> None:
    lacks = {
        ("~other:*", "+@all"): "~flant5:*",
        ("~flant5:*", "+@all", "-info"): "+info",
        ("~flant5:*", "+@all", "-eval"): "+eval",
        ("~flant5:*", "+@all", "-evalsha"): "+evalsha",
        ("~flant5:*", "+@all", "-zadd", "-brpop"): "is not allowed to run ZADD, BRPOP",
        ("~flant5:*", "+@all", "-multi"): "is not allowed to run MULTI",
        ("~flant5:*", "+@read", "+info", "+eval", "+evalsha"): "HSET",
        ("%R~flant5:*", "+@all"): "~flant5:*",
    }
    for rules, expected in lacks.items():
        message = refused(user(*rules))
        assert expected in message, (rules, message)
        assert "'us'" in message


def test_a_user_who_may_not_delete_leaves_no_key_for_good(
    user: Callable[..., str], socket: Path
) -> None:
    with Redis(unix_socket_path=str(socket), password=PASSWORD) as admin:
        admin.flushall()
        assert "is not allowed to run DEL" in refused(user("~flant5:*", "+@all", "-del"))
        left = list(admin.scan_iter(f"{keys.PREFIX}probe:*"))
        assert left
        assert all(0 < admin.ttl(key) <= 60 for key in left)


def test_all_that_is_asked_for_is_enough_for_the_service(user: Callable[..., str]) -> None:
    commands = {command.split()[0] for command in COMMANDS.split("|")}
    around = "info eval evalsha script|load multi exec ping select"
    named = [f"+{each.lower()}" for each in (*commands, *around.split())]
    # The second is what docs/deploy.md gives.
    for rules in (named, ("+@all", "-@dangerous", "+info")):
        url = SecretStr(user("~flant5:*", *rules))
        check_server(url)
        notifier = JobNotifier(url)
        assert notifier.notify("ftjob-1")
        notifier.close()
        assert taken(url) == ["ftjob-1"]


def test_every_command_of_a_script_is_tried() -> None:
    tried = {command.split()[0] for command in COMMANDS.split("|")}
    texts = [file.read_text() for file in LUA.iterdir()]
    used = {name for text in texts for name in re.findall(r"redis\.call\('(\w+)'", text)}
    assert used <= tried

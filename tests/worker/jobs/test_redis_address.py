"""FLANT5_REDIS_URL: each form works for all clients, or is refused by one sentence."""

from pathlib import Path

import pytest

from worker.jobs.redis_address import RedisAddress

READ = {
    "redis://h": ("h:6379", 0, None, None),
    "redis://h/": ("h:6379", 0, None, None),
    "redis://h:7/3": ("h:7", 3, None, None),
    "redis://h?db=3": ("h:6379", 3, None, None),
    "redis://h/3?db=3": ("h:6379", 3, None, None),
    "redis:///2": ("localhost:6379", 2, None, None),
    "valkey://h/1": ("h:6379", 1, None, None),
    "rediss://h": ("h:6379", 0, None, None),
    "valkeys://h": ("h:6379", 0, None, None),
    "redis://:p%40ss%2Fw%23rd@h/1": ("h:6379", 1, None, "p@ss/w#rd"),
    "redis://:pass word@h": ("h:6379", 0, None, "pass word"),
    "redis://:p@ss@h": ("h:6379", 0, None, "p@ss"),
    "redis://user:100%25@h": ("h:6379", 0, "user", "100%"),
    "redis://h?username=u&password=p%26w": ("h:6379", 0, "u", "p&w"),
    "redis://[::1]:7/0": ("[::1]:7", 0, None, None),
    "redis://[fd00::2]": ("[fd00::2]:6379", 0, None, None),
    "unix:///run/redis.sock": ("/run/redis.sock", 0, None, None),
    "unix:///run/a%20b.sock?db=4": ("/run/a b.sock", 4, None, None),
    "unix://:pw@/run/redis.sock?db=4": ("/run/redis.sock", 4, None, "pw"),
    "unix:///run/redis.sock?password=pw": ("/run/redis.sock", 0, None, "pw"),
}
REFUSED = {
    "": "no scheme",
    "localhost:6379": "no scheme",
    "http://h:6379": "unknown scheme http://",
    "amqp://h": "unknown scheme amqp://",
    "sentinel://h:26379/0": "the primary's own address",
    "redis+sentinel://h:26379/mymaster": "the primary's own address",
    "redis+cluster://h": "which a cluster refuses",
    "redis+socket:///run/redis.sock": "use unix:///path",
    "redis://a:1,b:2/0": "several servers",
    "redis://a:1/0;redis://b:2/0": "several servers",
    "redis://h/abc": "database of the Redis URL is 'abc'",
    "redis://h/-1": "database of the Redis URL is '-1'",
    "redis://h/0/1": "database of the Redis URL is '0/1'",
    "redis://h?db=x": "option db of the Redis URL is 'x'; expected a number",
    "redis://h/1?db=2": "two databases, /1 and ?db=2",
    "redis://h?db=1&db=2": "option db twice",
    "redis://h?protocol=4": "expected 2 or 3",
    "redis://h?protocol=": "expected a value",
    "redis://h?health_check_interval=-1": "expected a number",
    "redis://h?socket_keepalive=maybe": "expected true or false",
    "redis://h?socket_timeout=30": "FLANT5_REDIS_TIMEOUT_SECONDS",
    "redis://h?socket_connect_timeout=30": "FLANT5_REDIS_TIMEOUT_SECONDS",
    "redis://h?decode_responses=True": (
        "an unknown option 'decode_responses'; expected one of client_name"
    ),
    "redis://h?max_connections=1": "an unknown option 'max_connections'",
    "redis://h?virtual_host=2": "use ?db=N",
    "redis://h?ssl_ca_certs=/ca.pem": "use rediss://",
    "rediss://h?ssl_ca_certs=/nowhere/ca.pem": "'/nowhere/ca.pem'; expected a path that this user",
    "rediss://h?ssl_cert_reqs=never": "expected required or optional or none",
    "redis://:secret@h?password=secret": "a password before the host and one in",
    "redis://:secret/x@h": "percent-encode",
    "redis://:secret#x@h": "percent-encode",
    "redis://:secret[x@h": "percent-encode",
    "redis://::1:6379/0": "in brackets",
    "redis://[zz::1]:6379/0": "percent-encode",
    "redis://h:0/0": "port of the Redis URL is 0",
    "redis://h:99999/0": "host or port",
    "redis://h:port/0": "host or port",
    "redis://h /0": "no spaces",
    " redis://h/0": "spaces around it",
    "redis://h/0\n": "line breaks",
    "unix://run/redis.sock": "three slashes",
    "unix://": "three slashes",
    "unix:///run/redis.sock?socket_keepalive=yes": "an unknown option 'socket_keepalive'",
}


@pytest.mark.parametrize("url", READ)
def test_a_url_is_read(url: str) -> None:
    address = RedisAddress.parse(url)
    found = (address.place, address.db, address.username, address.password)
    assert found == READ[url]


@pytest.mark.parametrize("url", REFUSED)
def test_another_url_is_refused_by_a_sentence_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"Redis URL|is not supported|unix://") as refused:
        RedisAddress.parse(url)
    assert REFUSED[url] in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_reach_a_connection_and_come_before_our_own() -> None:
    url = "redis://h?protocol=3&health_check_interval=7&client_name=us&socket_keepalive=no"
    arguments = RedisAddress.parse(url).arguments(timeout_seconds=2)
    assert {
        "protocol": 3,
        "health_check_interval": 7,
        "client_name": "us",
    }.items() <= arguments.items()
    assert arguments["socket_keepalive"] is False
    assert arguments["socket_timeout"] == 2


def test_options_of_tls_reach_a_connection(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = f"rediss://h?ssl_ca_certs={authority}&ssl_check_hostname=false"
    arguments = RedisAddress.parse(url).arguments(timeout_seconds=2)
    assert (arguments["ssl_ca_certs"], arguments["ssl_check_hostname"]) == (str(authority), False)
    trusting = RedisAddress.parse("rediss://h?ssl_cert_reqs=none").arguments(timeout_seconds=2)
    assert (trusting["ssl_cert_reqs"], trusting["ssl_check_hostname"]) == ("none", False)


def test_no_text_of_an_address_has_its_password() -> None:
    for url in ("redis://:secret@h", "unix://:secret@/s", "redis://h?password=secret"):
        address = RedisAddress.parse(url)
        assert "secret" not in f"{address!r}{address}{address.place}{address.broker_url}"

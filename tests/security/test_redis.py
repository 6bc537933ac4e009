"""Redis is for the service alone. `tests/docker` tries it on real containers."""

from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from redis import Redis, exceptions

from api.cli.stack.redis import EmbeddedRedis
from tests.stack.service import REPOSITORY


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))
    return loaded


def test_compose_publishes_nothing_of_redis(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    assert "ports" not in redis
    assert "network_mode" not in redis
    assert redis["networks"] == ["backend"]
    assert compose["networks"]["backend"]["internal"] is True


def test_compose_gives_redis_a_password_that_is_in_no_environment(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    assert redis["secrets"] == ["redis_password"]
    assert "environment" not in redis
    start = (REPOSITORY / "docker" / "redis" / "start.sh").read_text()
    assert "requirepass" in start + (REPOSITORY / "docker" / "redis" / "valkey.conf").read_text()
    for name, service in compose["services"].items():
        values = [str(value) for value in (service.get("environment") or {}).values()]
        assert not [value for value in values if "redis://" in value and "@" in value], name


def test_a_server_of_ours_listens_to_this_machine_only_and_asks_for_its_password(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    password = SecretStr("a-password-of-this-test")
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), password=password) as server:
        url = server.url.get_secret_value()
        with Redis.from_url(url, decode_responses=True) as known:
            assert known.config_get("bind") == {"bind": "127.0.0.1"}
            assert known.config_get("protected-mode") == {"protected-mode": "yes"}
        port = int(url.rpartition(":")[2].partition("/")[0])
        with Redis(port=port) as unknown, pytest.raises(exceptions.AuthenticationError):
            unknown.ping()

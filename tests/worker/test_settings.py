import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from redis import Redis

from worker.settings import WorkerSettings


def test_the_defaults_fit_together() -> None:
    settings = WorkerSettings(worker_name="gpu-0")
    assert (
        settings.self_fence_seconds + settings.heartbeat_interval_seconds < settings.lease_seconds
    )


def test_a_worker_must_give_up_before_its_lease_ends() -> None:
    with pytest.raises(ValidationError, match="expected a longer lease_seconds"):
        WorkerSettings(lease_seconds=85, self_fence_seconds=80)


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="worker_name"):
        WorkerSettings(worker_name="../gpu")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANT5_WORKER_NAME", "gpu-7")
    monkeypatch.setenv("FLANT5_LEASE_SECONDS", "300")
    monkeypatch.setenv("FLANT5_API_KEYS_FILE", "/some/where")
    settings = WorkerSettings()
    assert (settings.worker_name, settings.lease_seconds) == ("gpu-7", 300)


def test_a_password_in_a_file_gets_into_the_url(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word:1\n")
    settings = WorkerSettings(
        redis_url=SecretStr("redis://redis:6379/0"), redis_password_file=tmp_path / "password"
    )
    url = settings.redis_url.get_secret_value()
    assert url == "redis://:p%40ss%2Fword%3A1@redis:6379/0"
    assert Redis.from_url(url).get_connection_kwargs()["password"] == "p@ss/word:1"


def test_a_password_file_of_the_environment_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("FLANT5_REDIS_URL", "redis://default@redis:6379/0")
    monkeypatch.setenv("FLANT5_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    url = WorkerSettings().redis_url.get_secret_value()
    assert url == "redis://default:secret@redis:6379/0"


@pytest.mark.parametrize(
    ("text", "url", "message"),
    [
        (None, "redis://redis:6379/0", "can't be read"),
        ("\n", "redis://redis:6379/0", "empty or has more than one line"),
        ("one\ntwo\n", "redis://redis:6379/0", "empty or has more than one line"),
        ("secret", "redis://:other@redis:6379/0", "expected one"),
    ],
)
def test_a_password_file_that_is_of_no_use_is_refused_without_telling_a_password(
    tmp_path: Path, text: str | None, url: str, message: str
) -> None:
    if text is not None:
        (tmp_path / "password").write_text(text)
    with pytest.raises(ValidationError, match=message) as caught:
        WorkerSettings(redis_url=SecretStr(url), redis_password_file=tmp_path / "password")
    assert not re.search("secret|other", str(caught.value))


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANT5_DATA_ROOT", "")
    assert WorkerSettings().data_root is None

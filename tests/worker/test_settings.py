import pytest
from pydantic import ValidationError

from worker.settings import WorkerSettings


def test_the_defaults_fit_together() -> None:
    settings = WorkerSettings(worker_name="gpu-0")
    assert settings.self_fence_seconds + settings.beat_seconds < settings.lease_seconds


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

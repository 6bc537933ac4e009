"""Secrets that a program writes do not get to those who read its log."""

import logging
from pathlib import Path

import pytest

from api.auth import new_key
from api.settings import child_environment
from tests.api.scenes import claim_new_job
from worker.jobs.job import JobError
from worker.jobs.logging import HIDDEN, JsonLines, TextLines, redacted
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import NewEvent, Update
from worker.jobs.store.store import JobStore
from worker.processes.trainer_log import LineSplitter
from worker.processes.trainer_process import trainer_environment

KEY = new_key()
SECRETS = (
    KEY,
    "hf_" + "aB3" * 11,
    "sk-proj-" + "x9Y" * 12,
    "ghp_" + "q7R" * 12,
)


# A name for each: every process that collects the tests makes another key.
@pytest.mark.parametrize("secret", SECRETS, ids=["flant5", "hugging-face", "openai", "github"])
@pytest.mark.parametrize(
    "text",
    [
        "401 for {}",
        "Authorization: Bearer {}",
        '{{"Authorization": "Bearer {}"}}',
        "https://hub.test/api?token={}&x=1",
        "export HF_TOKEN={}",
        "user:{}@hub.test",
    ],
)
def test_a_key_is_hidden_wherever_it_stands(secret: str, text: str) -> None:
    shown = redacted(text.format(secret))
    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter22@redis:6379/0", f"redis://:{HIDDEN}@redis:6379/0"),
        ("redis://user:hunter22@redis:6379", f"redis://user:{HIDDEN}@redis:6379"),
        ("Authorization: Basic YWxpY2U6aHVudGVy", f"Authorization: Basic {HIDDEN}"),
        ("password=hunter22 x", f"password={HIDDEN} x"),
        ("'api_key': 'abcdef123456'", f"'api_key': '{HIDDEN}'"),
    ],
)
def test_passwords_are_hidden_by_what_stands_before_them(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{'loss': 1.25, 'learning_rate': 2e-05, 'epoch': 0.5}",
        "http://127.0.0.1:8000/v1/files/file-1htrhac4w80zpm2m2s3dwa7sbv",
        "saved checkpoint-200 to /var/lib/flant5/jobs/ftjob-2w5wn0a70tu3dux8ema3suux/output",
        "1,234,567 tokens a second, token: 12345678",
        "the tokenizer has a pad_token: <pad_of_some_length>",
        "md5 d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_a_trainers_lines_and_events_and_its_failure_have_no_keys_in_them(
    store: JobStore, history: JobHistory
) -> None:
    (line,) = LineSplitter().feed(f"token {KEY}\n".encode())
    assert line == f"token {HIDDEN}"
    claim = claim_new_job(store)
    event = NewEvent(message=f"with {KEY}", data={"answers": [{"text": f"Bearer {KEY}"}]})
    assert store.leases.record(claim, Update(events=(event,)))
    (kept,) = history.events(claim.job.id, limit=1).items
    assert kept.message == f"with {HIDDEN}"
    assert kept.data == {"answers": [{"text": f"Bearer {HIDDEN}"}]}
    store.leases.release(claim, reason=f"it said {KEY}")
    assert KEY not in str(history.events(claim.job.id))
    assert JobError(code="internal", message=KEY).message == HIDDEN


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines("api")])
def test_the_services_own_log_has_none_either(formatter: logging.Formatter) -> None:
    try:
        raise RuntimeError(f"redis://:hunter22@redis refused {KEY}")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "key %s", (KEY,), info)
    text = formatter.format(record)
    assert KEY not in text
    assert "hunter22" not in text
    assert "RuntimeError" in text


def test_a_trainer_and_a_report_get_nothing_of_the_services_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = {
        "FLANT5_REDIS_URL": "redis://:hunter22@redis",
        "FLANT5_API_KEY": KEY,
        "FLANT5_REDIS_PASSWORD_FILE": "/run/secrets/redis_password",
        "HF_TOKEN": SECRETS[1],
        "HUGGING_FACE_HUB_TOKEN": SECRETS[1],
        "WANDB_API_KEY": "x" * 40,
        "AWS_SECRET_ACCESS_KEY": "x" * 40,
        "LD_PRELOAD": "/tmp/evil.so",
        "PYTHONSTARTUP": "/tmp/evil.py",
        "SSH_AUTH_SOCK": "/tmp/agent",
    }
    inherited = secrets | {"PATH": "/usr/bin", "LANG": "C.UTF-8"}
    run = RunDirectory(Path("/home/jobs/ftjob-1"))
    environment = trainer_environment(inherited, num_processes=1, run_directory=run)
    assert environment["PATH"] == "/usr/bin"
    assert not set(secrets) & set(environment)
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    assert not set(secrets) & set(child_environment())

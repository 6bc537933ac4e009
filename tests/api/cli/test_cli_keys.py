"""`flant5 keys`, and an API that has none."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from api.app import create_app
from api.auth import DEFAULT_SCOPES, Caller, KeyRing
from api.settings import ApiSettings
from tests.api.cli_runs import environment, flant5


def test_keys_are_made_listed_and_revoked(
    settings: ApiSettings, serve: Callable[[FastAPI], str], tmp_path: Path
) -> None:
    file = tmp_path / "etc" / "keys"
    key = flant5("keys", "create", "alice", api_keys_file=file).out.strip()
    other = flant5("keys", "create", "bob", "--json", api_keys_file=file).document
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in file.read_text()
    assert KeyRing(file).caller_of(key) == Caller("alice", DEFAULT_SCOPES)
    twice = flant5("keys", "create", "alice", api_keys_file=file)
    assert (twice.code, "flant5 keys rotate alice" in twice.err) == (1, True)
    odd = flant5("keys", "create", "a b", api_keys_file=file)
    assert (odd.code, "invalid key name" in odd.err) == (1, True)
    listed = flant5("keys", "list", "--json", "--file", file).document
    assert [each["name"] for each in listed] == ["alice", "bob"]

    url = serve(create_app(settings.model_copy(update={"api_keys_file": file})))
    assert flant5("models", url=url, api_key=key).code == 0
    without = flant5("models", url=url)
    assert (without.code, "FLANT5_API_KEY" in without.err) == (1, True)
    assert flant5("keys", "revoke", "bob", api_keys_file=file).code == 0
    assert flant5("models", url=url, api_key=other["key"]).code == 1
    assert flant5("keys", "revoke", "bob", api_keys_file=file).code == 1


def test_a_new_key_takes_the_place_of_an_old_one_which_is_good_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "keys"

    def keys(*args: str) -> Any:
        return flant5("keys", *args, "--json", api_keys_file=file)

    scopes = ("--scope", "read", "--scope", "admin", "--days", "9")
    first = keys("create", "ops", *scopes).document
    assert first["scopes"] == ["read", "admin"]
    assert first["expires_at"] - time.time() > 8 * 24 * 3600
    second = keys("rotate", "ops", "--overlap-hours", "1").document
    assert (second["scopes"], second["expires_at"]) == (["read", "admin"], None)
    ring = KeyRing(file)
    assert ring.caller_of(first["key"]) == ring.caller_of(second["key"]) is not None
    (old, _) = keys("list").document
    assert 0 < old["expires_at"] - time.time() < 3601
    third = keys("rotate", "ops", "--overlap-hours", "0").document
    assert ring.caller_of(second["key"]) is None
    assert ring.caller_of(first["key"]) is None
    assert "expired" in flant5("keys", "list", api_keys_file=file).out
    assert keys("revoke", "ops", "--id", second["id"]).document["ids"] == [second["id"]]
    assert ring.caller_of(third["key"]) is not None
    assert keys("revoke", "ops").code == 0
    assert keys("list").document == []


def test_what_a_key_can_not_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    for args, reason in (
        (
            ("create", "a", "--scope", "write"),
            "unknown scope 'write'; expected read, submit, admin",
        ),
        (("create", "a", "--scope", "admin"), "only extends them"),
        (("create", "a", "--days", "-1"), "greater than or equal to 0"),
        (("rotate", "a"), "can't be read"),
    ):
        run = flant5("keys", *args, api_keys_file=file)
        assert (run.code != 0, reason in run.err) == (True, True), run.err
    assert not file.exists()


def test_a_file_that_another_user_could_read_stays_so(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.touch()
    file.chmod(0o644)
    assert flant5("keys", "create", "alice", "--file", file).code == 0
    assert file.stat().st_mode & 0o777 == 0o644


def test_keys_without_a_file_ask_for_one() -> None:
    run = flant5("keys", "list")
    assert (run.code, "FLANT5_API_KEYS_FILE" in run.err) == (1, True)


def test_an_api_that_may_not_start_says_why() -> None:
    command = [sys.executable, "-m", "api"]
    for settings, reason in (
        ({"host": "0.0.0.0"}, "no API keys are configured"),
        ({"port": "x"}, "FLANT5_PORT"),
        ({"api_keys_file": "/nonexistent/keys"}, "can't be read"),
    ):
        done = subprocess.run(
            command, env=environment(**settings), capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 2
        assert reason in done.stderr
        assert "Traceback" not in done.stderr

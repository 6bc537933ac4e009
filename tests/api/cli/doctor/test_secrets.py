"""API keys and the secrets of the deployment, as files with the modes they have."""

from pathlib import Path

import pytest

from api.auth import hash_of
from api.cli.doctor.check import State
from api.cli.doctor.installation import check_keys, check_secrets, is_open_to_all
from tests.api.cli.doctor.programs import CONTAINER, PLAIN

LINE = f"alice:{hash_of('f5-key')}\n"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(LINE)
    path.chmod(0o600)
    return path


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """As `make secrets` leaves it."""
    (tmp_path / "docker-compose.yml").touch()
    api = tmp_path / "secrets" / "api"
    api.mkdir(parents=True)
    for path, text in ((api / "keys", LINE), (tmp_path / "secrets" / "redis_password", "abc")):
        path.write_text(text)
        path.chmod(0o644)
    api.chmod(0o755)
    api.parent.chmod(0o700)
    return tmp_path


def test_a_private_file_with_a_key_is_fine(keys: Path) -> None:
    finding = check_keys(keys, host=PLAIN)
    assert (finding.state, finding.found) == (State.OK, f"{keys}: alice")
    assert check_keys(None, host=PLAIN).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("text", "found"), [("", "has no keys"), ("# none\n", "has no keys"), ("alice\n", "line 1")]
)
def test_a_file_without_keys_or_with_a_wrong_line_has_failed(
    keys: Path, text: str, found: str
) -> None:
    keys.write_text(text)
    finding = check_keys(keys, host=PLAIN)
    assert finding.state is State.FAILED
    assert found in finding.found
    assert f"flant5 keys create NAME --file {keys}" in finding.remedy


def test_a_file_that_is_missing_has_failed(tmp_path: Path) -> None:
    finding = check_keys(tmp_path / "none", host=PLAIN)
    assert (finding.state, "can't be read" in finding.found) == (State.FAILED, True)


def test_a_file_that_others_may_write_has_failed(keys: Path) -> None:
    keys.chmod(0o620)
    finding = check_keys(keys, host=PLAIN)
    assert (finding.state, finding.remedy) == (State.FAILED, f"chmod 600 {keys}")
    assert check_keys(keys, host=CONTAINER).state is State.OK


def test_a_file_is_private_too_when_nobody_can_get_to_it(keys: Path) -> None:
    keys.chmod(0o644)
    keys.parent.chmod(0o700)
    assert not is_open_to_all(keys)
    assert check_keys(keys, host=PLAIN).state is State.OK


def test_a_file_that_everybody_can_read_is_told(
    keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys.chmod(0o644)
    # pytest's own directories are private.
    modes = [(parent, parent.stat().st_mode) for parent in keys.parents]
    for parent, mode in modes:
        parent.chmod(mode | 0o001)
    try:
        finding = check_keys(keys, host=PLAIN)
    finally:
        for parent, mode in modes:
            parent.chmod(mode)
    assert (finding.state, finding.remedy) == (State.WARNING, f"chmod 600 {keys}")


def test_secrets_as_make_leaves_them_are_fine(deployment: Path) -> None:
    finding = check_secrets(deployment)
    assert finding.state is State.OK
    assert "alice" in finding.found
    assert "abc" not in finding.found


@pytest.mark.parametrize("name", ["", "redis_password", "api/keys"])
def test_a_secret_that_is_missing_is_made_by_make(deployment: Path, name: str) -> None:
    path = deployment / "secrets" / name
    path.rename(deployment / "elsewhere")
    finding = check_secrets(deployment)
    assert (finding.state, finding.remedy) == (State.FAILED, "make secrets")
    assert str(path) in finding.found


def test_secrets_of_another_user_can_not_be_judged(
    deployment: Path, request: pytest.FixtureRequest
) -> None:
    (deployment / "secrets").chmod(0)
    request.getfixturevalue("another_user")
    finding = check_secrets(deployment)
    assert (finding.state, "is not readable by this user" in finding.found) == (State.FAILED, True)
    assert "sudo" in finding.remedy


def test_secrets_that_are_empty_open_or_closed_to_the_containers_have_failed(
    deployment: Path,
) -> None:
    secrets = deployment / "secrets"
    (secrets / "redis_password").chmod(0o600)
    assert f"chmod 644 {secrets / 'redis_password'}" in check_secrets(deployment).remedy
    (secrets / "redis_password").write_text(" \n")
    assert "is empty" in check_secrets(deployment).found
    secrets.chmod(0o755)
    assert check_secrets(deployment).remedy == f"chmod 700 {secrets}"


def test_keys_of_nobody_have_failed(deployment: Path) -> None:
    (deployment / "secrets" / "api" / "keys").write_text("# later\n")
    assert "has no keys" in check_secrets(deployment).found
    (deployment / "secrets" / "api" / "keys").write_text("alice\n")
    assert "line 1" in check_secrets(deployment).found


def test_without_a_compose_file_secrets_do_not_matter(tmp_path: Path) -> None:
    assert check_secrets(tmp_path).state is State.NOT_APPLICABLE

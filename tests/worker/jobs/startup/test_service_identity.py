"""A HOME and a Redis database belong to one service, whoever starts first."""

import logging
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup import service_identity
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.startup.start_check import check_start
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.redis import open_redis

Identity = Callable[[str], ServiceIdentity]


@pytest.fixture
def identity(redis: Redis, redis_url: SecretStr, tmp_path: Path) -> Identity:
    """Of a HOME of that name."""
    address = RedisAddress.parse(redis_url.get_secret_value())
    return lambda name: ServiceIdentity(redis, Home(tmp_path / name), address)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_identity, "_PATIENCE_SECONDS", 0.0)


def test_the_first_start_names_the_service_and_every_other_finds_it(identity: Identity) -> None:
    first = identity("a").confirm()
    assert identity("a").confirm() == first
    assert identity("a").ids() == (first, first)


def test_a_second_home_is_refused_with_both_and_what_to_do(
    identity: Identity, tmp_path: Path
) -> None:
    first = identity("a").confirm()
    with pytest.raises(StartRefusedError) as refused:
        identity("b").confirm()
    for part in (first, str(tmp_path / "b"), "database 0", "FLANT5_HOME", "FLANT5_REDIS_URL"):
        assert part in str(refused.value)
    assert not (tmp_path / "b").exists()


def test_a_home_of_another_service_is_refused(identity: Identity, redis: Redis) -> None:
    first = identity("a").confirm()
    redis.flushall()
    other = identity("b").confirm()
    with pytest.raises(StartRefusedError, match=f"belongs to service {other}, but .*{first}"):
        identity("a").confirm()


def test_two_services_share_a_server_in_databases_of_their_own(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    for number in (0, 1):
        url = SecretStr(redis_url.get_secret_value().removesuffix("/0") + f"/{number}")
        check_start(url, Home(tmp_path / str(number)), use="writes")


def test_an_emptied_store_gets_the_id_of_its_home_again(identity: Identity, redis: Redis) -> None:
    first = identity("a").confirm()
    redis.flushall()
    assert identity("a").confirm() == first
    controller = identity("a")
    redis.flushall()
    controller.keep()
    assert redis.get(keys.SERVICE) == first


def test_a_store_that_another_service_took_meanwhile_stops_the_controller(
    identity: Identity, redis: Redis
) -> None:
    controller = identity("a")
    controller.confirm()
    controller.keep()
    redis.flushall()
    identity("b").confirm()
    with pytest.raises(StartRefusedError, match="belongs to service"):
        controller.keep()
    with pytest.raises(StoreUnavailableError, match="belongs to service"):
        identity("a").refuse_another()
    identity("b").refuse_another()


@contextmanager
def _alive(controller: ServiceIdentity, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller that has shown itself once, and does so again and again."""
    monkeypatch.setattr(service_identity, "PULSE_SECONDS", 0.0)
    controller.keep()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            controller.keep()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_copy_is_refused_while_the_controller_of_the_original_is_alive(
    identity: Identity, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = identity("a")
    controller.confirm()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    identity("b").confirm()  # nobody is alive: it may have been moved
    with _alive(controller, monkeypatch):
        with pytest.raises(StartRefusedError, match="is a copy of the directory of service"):
            identity("b").confirm()
        identity("a").confirm()
    # The same directory by another path is no copy.
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a")
    identity("elsewhere").confirm()
    redis.delete(keys.PULSE)  # as it ends by itself
    identity("b").confirm()


def test_several_controllers_of_one_home_do_not_take_each_other_for_copies(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service_identity, "PULSE_SECONDS", 0.0)
    monkeypatch.setattr(service_identity, "_NUM_KEPT", 5)
    controllers = [identity("a"), identity("a")]
    controllers[0].confirm()
    for _ in range(10):
        for controller in controllers:
            controller.keep()
            identity("a").confirm()
    assert len(list((tmp_path / "a" / "service" / "pulse").iterdir())) == 5


def test_a_store_that_lost_its_last_seconds_is_still_of_its_home(
    identity: Identity, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_identity, "PULSE_SECONDS", 0.0)
    controller = identity("a")
    controller.confirm()
    controller.keep()
    snapshot = redis.get(keys.PULSE)
    controller.keep()
    redis.set(keys.PULSE, str(snapshot))
    identity("a").confirm()


def _pulse_files(home: Path) -> set[str]:
    return set(os.listdir(home / "service" / "pulse"))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_was_set_does_not_cost_a_controller_its_newest_file(
    identity: Identity,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    hours: int,
) -> None:
    monkeypatch.setattr(service_identity, "PULSE_SECONDS", 0.0)
    controller = identity("a")
    controller.confirm()
    before = time.time() + hours * 3600
    directory = tmp_path / "a" / "service" / "pulse"
    directory.mkdir()
    for number in range(100):
        file = directory / f"{int((before - 10 * number) * 1e9)}-{number:016x}"
        file.touch()
        os.utime(file, (before - 10 * number,) * 2)
    names = []
    for _ in range(110):
        controller.keep()
        names.append(redis.get(keys.PULSE))
        assert names[-1] in _pulse_files(tmp_path / "a")
    identity("a").confirm()
    assert _pulse_files(tmp_path / "a") == set(names[-100:])


def test_a_home_that_lost_its_newest_file_waits_for_the_end_of_the_dead_controllers_pulse(
    identity: Identity, redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a power cut: the file was not on disk yet."""
    controller = identity("a")
    first = controller.confirm()
    controller.keep()
    (tmp_path / "a" / "service" / "pulse" / str(redis.get(keys.PULSE))).unlink()
    redis.pexpire(keys.PULSE, 600)
    assert identity("a").confirm() == first
    assert redis.get(keys.PULSE) is None
    assert "waiting for the last controller to end" in caplog.text


def test_a_pulse_without_an_end_is_no_living_controller(
    identity: Identity, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_identity, "_PULSE_ENDS_SECONDS", 0)
    first = identity("a").confirm()
    redis.set(keys.PULSE, "gone")
    assert identity("a").confirm() == first


def test_the_name_of_a_pulse_is_durable_before_redis_has_it(
    identity: Identity, redis: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synced: list[tuple[Path, object, int]] = []

    def sync(path: Path) -> None:
        synced.append((path, redis.get(keys.PULSE), len(os.listdir(path))))

    monkeypatch.setattr(service_identity, "sync_directory", sync)
    controller = identity("a")
    controller.confirm()
    controller.keep()
    service = tmp_path / "a" / "service"
    assert synced == [(service, None, 2), (service / "pulse", None, 1)]


@pytest.mark.parametrize(
    ("is_home_without", "lacking"), [(False, "the store"), (True, "HOME and the store")]
)
def test_an_id_that_was_given_again_is_logged_with_who_lacked_it(
    identity: Identity,
    redis: Redis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    is_home_without: bool,
    lacking: str,
) -> None:
    controller = identity("a")
    controller.confirm()
    redis.flushall()
    if is_home_without:
        (tmp_path / "a" / "service" / "id").unlink()
    with caplog.at_level(logging.WARNING):
        controller.keep()
    own, known = controller.ids()
    assert own == known
    assert f"(id={own}, missing in: {lacking})" in caplog.text


def test_adoption_is_deliberate_and_waits_for_the_former_service_to_end(
    identity: Identity, redis: Redis
) -> None:
    controller = identity("a")
    former = controller.confirm()
    controller.keep()
    with pytest.raises(StartRefusedError, match="is alive"):
        identity("b").adopt()
    redis.delete(keys.PULSE)
    new, known = identity("b").adopt()
    assert (known, identity("b").confirm()) == (former, new)
    with pytest.raises(StartRefusedError):
        identity("a").confirm()


def test_a_process_that_only_reads_home_waits_for_one_that_writes_it(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    home = Home(tmp_path / "file" / "home")  # nobody can write there, root neither
    with pytest.raises(
        StoreUnavailableError, match=r"can't be written: .* has to create its service id"
    ):
        check_start(redis_url, home, use="reads")
    with pytest.raises(StartRefusedError, match="can't be written: Not a directory"):
        check_start(redis_url, home, use="writes")
    check_start(redis_url, home, use="may lack")


def _confirmed(url: str, home: Path) -> str:
    with open_redis(SecretStr(url)) as redis:
        try:
            return ServiceIdentity(redis, Home(home), RedisAddress.parse(url)).confirm()
        except StartRefusedError:
            return "refused"


def test_processes_that_start_together_agree(redis_url: SecretStr, tmp_path: Path) -> None:
    url = redis_url.get_secret_value()
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        for attempt in range(5):
            with open_redis(redis_url) as redis:
                redis.flushall()
            homes = [tmp_path / f"{name}-{attempt}" for name in "aaabbb"]
            found = pool.starmap(_confirmed, [(url, home) for home in homes])
            # One HOME wins, and all of its processes.
            assert sorted((len(set(found[:3])), len(set(found[3:])))) == [1, 1]
            assert sorted("refused" in half for half in (found[:3], found[3:])) == [False, True]

"""The id shared by a HOME and its Redis database. It keeps two services from using one store.

    HOME/service/id            the id; written once, by the first process that starts
    HOME/service/pulse/<name>  empty files; the controller creates a new one every few seconds
    flant5:service             the id
    flant5:pulse               the name of the controller's newest file; expires after half a minute

A copy of a HOME has the same id. While a controller is alive, the copy lacks the controller's
newest file. This distinguishes two directories wherever they are mounted, without comparing paths,
inodes or host clocks. After a power cut, a file may also be missing in the original. Its controller
is dead then, so the name in Redis stays the same until it expires.
"""

import contextlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import cast

from redis import Redis

from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.storage.filesystem import sync_directory
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.redis import translate_redis_errors

PULSE_SECONDS = 10.0
"""Time between two pulse files of a controller."""
_PULSE_ENDS_SECONDS = 30
_NUM_KEPT = 100
"""Files kept, because a Redis that lost its last writes may have an older name."""
_PATIENCE_SECONDS = 5.0
"""Time until a file is visible on other hosts (NFS)."""
_LOOK_SECONDS = 0.25

logger = logging.getLogger(__name__)


class ServiceIdentity:
    """The ids of one HOME and one Redis database."""

    def __init__(self, redis: Redis, home: Home, address: RedisAddress) -> None:
        self._redis = redis
        self._home = home
        self._store = f"Redis at {address.place}, database {address.db},"
        self._beat_at = 0.0

    def confirm(self, *, may_write_home: bool = True) -> str:
        """Returns the common id. The first process of a service creates it. A store without one is
        new or was emptied, and gets the id of the HOME.

        Raises StartRefusedError if HOME and store belong to different services. Raises
        StoreUnavailableError, also if neither has an id and this process can't write HOME and need
        not (`may_write_home`).
        """
        service_id = self._matched(may_write_home=may_write_home)
        self._refuse_a_copy(service_id)
        return service_id

    def keep(self) -> None:
        """Restores the id of an emptied store, and writes a new pulse when it is due. A controller
        calls it every round. A failing disk is logged and retried. Raises as `confirm` does."""
        try:
            own, known = self._read(), self._known()
            if own is None or own != known:
                service_id = self._matched(may_write_home=True)
                lacking = [side for side, id_ in (("HOME", own), ("the store", known)) if not id_]
                logger.warning(
                    "service: restored the id (id=%s, missing in: %s)",
                    service_id,
                    " and ".join(lacking),
                )
            if time.monotonic() >= self._beat_at:
                self._beat()
                self._beat_at = time.monotonic() + PULSE_SECONDS
        except OSError as error:
            logger.warning("service: cannot write the pulse of this HOME: %s", error)

    def adopt(self) -> tuple[str, str | None]:
        """Replaces the store's id with the HOME's. Returns the new id and the former one.

        Raises StartRefusedError while a controller of the former service is alive.
        """
        known = self._known()
        if self._pulse() is not None:
            raise StartRefusedError(
                f"a controller of service {known} is alive on {self._store.removesuffix(',')}",
                expected="that service to be stopped",
                remedy=f"stop it, wait {_PULSE_ENDS_SECONDS} s, and try again",
            )
        own = self._read() or self._create()
        with translate_redis_errors():
            self._redis.set(keys.SERVICE, own)
        return own, known

    def refuse_another(self) -> None:
        """Raises StoreUnavailableError while the store belongs to another service, which took it
        when it was empty. A store without an id gets one from the controller."""
        own, known = self.ids()
        if known is not None and known != own:
            raise StoreUnavailableError(str(self._foreign(f"this HOME to {own}", known)))

    def own_id(self) -> str | None:
        """Returns the HOME's id; None if it has none."""
        return self._read()

    def ids(self) -> tuple[str | None, str | None]:
        """Returns the ids of the HOME and of the store; None for a missing one."""
        return self._read(), self._known()

    def _matched(self, *, may_write_home: bool) -> str:
        # Read the store first, because a new id is written to HOME first.
        known = self._known()
        own = self._read_patiently() if known else self._read()
        if own is None and known is None:
            own = self._named(may_write_home=may_write_home)
        if own is None:
            raise self._foreign(f"{self._home.root} has no service id", known)
        if known is None:
            with translate_redis_errors():
                self._redis.set(keys.SERVICE, own, nx=True)
            known = self._known()
        if known != own:
            raise self._foreign(f"{self._home.root} belongs to service {own}", known)
        return own

    def _named(self, *, may_write_home: bool) -> str:
        try:
            return self._create()
        except OSError as error:
            found = f"{self._home.service} can't be written: {error.strerror}"
            if not may_write_home:
                raise StoreUnavailableError(
                    f"{found}; the API, a worker or the controller has to create its service id"
                ) from error
            raise StartRefusedError(
                found,
                expected="a HOME that this user can write",
                remedy="set FLANT5_HOME, or change the owner of the directory",
            ) from error

    def _foreign(self, home: str, known: str | None) -> StartRefusedError:
        return StartRefusedError(
            f"{self._store} belongs to service {known}, but {home}",
            expected="a HOME and a Redis database of one service",
            remedy="set FLANT5_HOME to the directory of that service, or FLANT5_REDIS_URL to a "
            "database of its own (another number at the end, or another server); if the two do "
            "belong together, run `flant5 adopt` once",
        )

    def _refuse_a_copy(self, service_id: str) -> None:
        """Raises StartRefusedError if this HOME is a copy.

        If a name without a file stays the same, its controller is dead: waits until the name
        expires. A new name without a file comes from a live controller in another directory.
        """
        first = name = self._pulse()
        began_at = seen_at = time.monotonic()
        is_logged = False
        while name is not None and not self._pulse_file(name).exists():
            now = time.monotonic()
            is_late = now - seen_at >= _PATIENCE_SECONDS
            if is_late and name != first:
                raise self._copied(service_id)
            if now - began_at > _PULSE_ENDS_SECONDS and name == first:
                return
            if is_late and not is_logged:
                is_logged = True
                file = self._pulse_file(name)
                logger.warning(
                    "service: waiting for the last controller to end (missing: %s)", file
                )
            time.sleep(_LOOK_SECONDS)
            if (known := self._pulse()) != name:
                name, seen_at = known, time.monotonic()

    def _copied(self, service_id: str) -> StartRefusedError:
        return StartRefusedError(
            f"{self._home.root} is a copy of the directory of service {service_id}, whose "
            f"controller is alive elsewhere on {self._store.removesuffix(',')}",
            expected="one directory for one service",
            remedy="set FLANT5_HOME to the original, or give the copy a database of its "
            "own in FLANT5_REDIS_URL; a copy that replaces the original starts "
            f"{_PULSE_ENDS_SECONDS} s after the last controller of the original has ended",
        )

    def _known(self) -> str | None:
        with translate_redis_errors():
            return cast(str | None, self._redis.get(keys.SERVICE))

    def _pulse(self) -> str | None:
        with translate_redis_errors():
            return cast(str | None, self._redis.get(keys.PULSE))

    def _pulse_file(self, name: str) -> Path:
        return self._home.service / "pulse" / name

    def _beat(self) -> None:
        """Writes the pulse: first the file to disk, then its name to Redis. So every reader of the
        name finds the file."""
        name = f"{time.time_ns()}-{secrets.token_hex(8)}"
        file = self._pulse_file(name)
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True, exist_ok=True)
            sync_directory(self._home.service)
        file.touch()
        sync_directory(file.parent)
        with translate_redis_errors():
            self._redis.set(keys.PULSE, name, ex=_PULSE_ENDS_SECONDS)
        self._remove_old_files(file)

    def _remove_old_files(self, newest: Path) -> None:
        """Keeps `newest` and the last ones before it. If the clock was set back, files have future
        times. They are removed first, or every new file would be the oldest."""
        changed_at: dict[Path, float] = {}
        for file in newest.parent.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another controller removed it
                changed_at[file] = file.stat().st_mtime
        latest = changed_at.pop(newest, time.time()) + _PULSE_ENDS_SECONDS
        by_age = sorted((at <= latest, at, file) for file, at in changed_at.items())
        for _, _, file in by_age[: max(0, len(by_age) + 1 - _NUM_KEPT)]:
            file.unlink(missing_ok=True)

    def _read(self) -> str | None:
        try:
            return (self._home.service / "id").read_text("ascii").strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read_patiently(self) -> str | None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        # Another host may have just written it.
        while (own := self._read()) is None and time.monotonic() < deadline:
            if not self._home.service.exists():
                return None
            time.sleep(_LOOK_SECONDS)
        return own

    def _create(self) -> str:
        """Creates the id atomically: if several processes try, all return the same one."""
        file = self._home.service / "id"
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"id.{secrets.token_hex(8)}.draft")
        draft.write_text(f"service-{secrets.token_hex(8)}\n", "ascii")
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink()
        own = self._read()
        assert own is not None, f"{file} was removed by another process"
        return own

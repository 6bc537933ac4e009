"""Does the faults to the parts of a service."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from redis import exceptions

from tests.chaos.caller import Caller
from tests.chaos.faults import ROLLBACK_SECONDS, Fault, Kind
from tests.chaos.processes import trainer_processes
from tests.chaos.rollback import AofHistory, Rollback
from tests.stack.part import Part
from tests.stack.parts import Parts

_TARGET_SECONDS = 3.0
"""Time to wait for something to hit: a rank, an outstanding job."""
_POLL_SECONDS = 0.1
_FLIGHT_SECONDS = 0.1
"""A create is hit somewhere in this time after it was sent."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Thaw:
    part: Part
    at: float


class Injector:
    """`inject` a fault; call `tick` often, so that what is frozen thaws in time."""

    def __init__(self, parts: Parts, caller: Caller, aof: AofHistory) -> None:
        self._parts = parts
        self._aof = aof
        self.rollbacks: list[Rollback] = []
        self._caller = caller
        self._thaws: list[Thaw] = []
        self._creates: list[threading.Thread] = []
        self._actions: dict[Kind, Callable[[Fault], str | None]] = {
            "kill api": lambda fault: self._kill_part("api", fault),
            "kill controller": lambda fault: self._kill_part("controller", fault),
            "kill redis": lambda fault: self._kill_part("redis", fault),
            "roll redis back": self._roll_redis_back,
            "kill worker": self._kill_worker,
            "kill pool process": self._kill_pool_process,
            "kill supervisor": lambda fault: self._kill_process("supervisor", fault),
            "kill torchrun": lambda fault: self._kill_process("torchrun", fault),
            "kill rank": lambda fault: self._kill_process("rank", fault),
            "freeze worker": self._freeze_worker,
            "freeze worker and trainer": self._freeze_worker_and_trainer,
            "freeze redis": self._freeze_redis,
            "reset connections": self._reset_connections,
            "create while api dies": lambda fault: self._create_while_dies("api", fault),
            "create while redis dies": lambda fault: self._create_while_dies("redis", fault),
            "cancel": lambda fault: self._wish(caller.cancel, caller.outstanding(), fault),
            "cancel with checkpoint": lambda fault: self._wish(
                caller.cancel_with_checkpoint, caller.outstanding(), fault
            ),
            "pause": lambda fault: self._wish(
                lambda job_id: caller.pause(job_id, seconds=2 * fault.seconds),
                caller.outstanding(),
                fault,
            ),
            "resume": lambda fault: self._wish(caller.resume, caller.resumable(), fault),
        }

    def inject(self, fault: Fault) -> str | None:
        """What was hit; None when there was nothing of the kind for a while."""
        deadline = time.monotonic() + _TARGET_SECONDS
        while time.monotonic() < deadline:
            self.tick()
            if (hit := self._actions[fault.kind](fault)) is not None:
                return hit
            time.sleep(_POLL_SECONDS)
        return None

    def tick(self) -> None:
        now = time.monotonic()
        for thaw in self._thaws:
            if now >= thaw.at:
                thaw.part.thaw()
        self._thaws = [thaw for thaw in self._thaws if now < thaw.at]

    def end(self) -> None:
        """All that is frozen thaws; all creates are answered."""
        self._thaws = []
        self._parts.thaw()
        for create in self._creates:
            create.join()

    def _kill_part(self, name: str, fault: Fault) -> str | None:
        if not self._parts[name].is_alive:
            return None
        self._parts[name].kill(away_seconds=min(fault.seconds, 2))
        return name

    def _roll_redis_back(self, fault: Fault) -> str | None:
        away_seconds = min(fault.seconds, 2)
        done = self._aof.roll_back(seconds=ROLLBACK_SECONDS, away_seconds=away_seconds)
        if done is None:
            return None
        self.rollbacks.append(done)
        return f"by {done.seconds:.1f} s, {done.num_lost} changes"

    def _kill_worker(self, fault: Fault) -> str | None:
        name = _one(self._parts.workers, fault)
        return self._kill_part(name, fault) if name else None

    def _kill_pool_process(self, fault: Fault) -> str | None:
        alive = [name for name in self._parts.workers if self._parts[name].is_alive]
        pairs = [(name, pid) for name in alive for pid in self._parts[name].children()]
        target = _one(pairs, fault)
        return f"{target[0]}: {target[1]}" if target and _kill(target[1]) else None

    def _kill_process(self, kind: str, fault: Fault) -> str | None:
        found = [one for one in trainer_processes(self._parts.service.home) if one.kind == kind]
        target = _one(sorted(found, key=lambda one: one.pid), fault)
        return f"{target.job_id}: {target.pid}" if target and _kill(target.pid) else None

    def _freeze_worker(self, fault: Fault) -> str | None:
        return self._freeze(_one(self._parts.workers, fault), fault, how=Part.freeze)

    def _freeze_worker_and_trainer(self, fault: Fault) -> str | None:
        return self._freeze(_one(self._parts.workers, fault), fault, how=Part.freeze_tree)

    def _freeze_redis(self, fault: Fault) -> str | None:
        return self._freeze("redis", fault, how=Part.freeze)

    def _freeze(self, name: str | None, fault: Fault, *, how: Callable[[Part], None]) -> str | None:
        if name is None or not self._parts[name].is_alive or self._parts[name].is_frozen:
            return None
        how(self._parts[name])
        self._thaws.append(Thaw(self._parts[name], time.monotonic() + fault.seconds))
        return f"{name} for {fault.seconds:.1f} s"

    def _reset_connections(self, fault: Fault) -> str | None:
        try:
            with self._parts.open_redis() as redis:
                killed = redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        except (exceptions.ConnectionError, exceptions.TimeoutError):
            return None
        return f"{killed} connections"

    def _create_while_dies(self, name: str, fault: Fault) -> str | None:
        if not self._caller.is_submitting:
            return self._kill_part(name, fault)
        create = threading.Thread(target=self._caller.submit_or_repeat, name="create", daemon=True)
        create.start()
        self._creates.append(create)
        time.sleep(fault.choice * _FLIGHT_SECONDS)
        return self._kill_part(name, fault) or f"{name} was away"

    def _wish(self, send: Callable[[str], bool], among: Sequence[str], fault: Fault) -> str | None:
        job_id = _one(among, fault)
        return job_id if job_id and send(job_id) else None


def _one(among: Sequence[Item], fault: Fault) -> Item | None:
    return among[int(fault.choice * len(among))] if among else None


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True

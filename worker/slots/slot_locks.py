"""Exclusive locks on slots, held by the worker and by each of its ranks.

    HOME/slots/<boot id>/<slot>.lock

While a rank outlives its worker, its GPU is not assigned to another job.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.jobs.storage.lock import LockedError, holder_text, name_holder, take_lock_to_share
from worker.slots.slot import Slot


@dataclass(frozen=True, slots=True)
class BusySlot:
    """A slot that another process holds."""

    slot: Slot
    reason: str
    """One sentence that names the holder."""


@dataclass(frozen=True, slots=True)
class _Held:
    slot: Slot
    path: Path
    descriptor: int


class HeldSlots:
    """Slots locked until `close` and until all ranks that share the locks have exited."""

    def __init__(self, worker_name: str) -> None:
        self._worker_name = worker_name
        self._held: list[_Held] = []
        self._busy: list[BusySlot] = []

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(held.slot for held in self._held)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The lock files, which the ranks share."""
        return tuple(held.path for held in self._held)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors that a process inherits to hold the slots as well."""
        return tuple(held.descriptor for held in self._held)

    @property
    def visible_devices(self) -> tuple[str, ...]:
        """The GPUs among the slots: a trainer must see these and no others."""
        return tuple(held.slot.name for held in self._held if held.slot.is_gpu)

    @property
    def busy(self) -> tuple[BusySlot, ...]:
        """Requested slots that other processes hold."""
        return tuple(self._busy)

    def add(self, slot: Slot, path: Path) -> None:
        """Locks one more slot, or records its holder in `busy`."""
        try:
            descriptor = take_lock_to_share(
                path, holder=holder_text(self._worker_name), patience_seconds=0
            )
        except LockedError as error:
            self._busy.append(BusySlot(slot, f"slot {slot.name} is not free: {error}"))
        else:
            self._held.append(_Held(slot, path, descriptor))

    def name_job(self, job_id: str) -> None:
        """Writes the job's id into the lock files."""
        for held in self._held:
            name_holder(held.descriptor, holder_text(self._worker_name, job_id=job_id))

    def keep(self, num_slots: int) -> None:
        """Releases all slots but the first `num_slots`."""
        assert 0 <= num_slots <= len(self._held), f"keep {num_slots} of {len(self._held)} slots"
        while len(self._held) > num_slots:
            os.close(self._held.pop().descriptor)

    def close(self) -> None:
        """Releases the remaining slots. A second call does nothing."""
        self.keep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SlotLocks:
    """Takes the locks of this host's slots in `directory` for one worker."""

    def __init__(self, directory: Path, *, worker_name: str) -> None:
        self._directory = directory
        self._worker_name = worker_name

    def take_free(self, slots: Iterable[Slot]) -> HeldSlots:
        """Locks the free slots among these without waiting, in the given order."""
        held = HeldSlots(self._worker_name)
        try:
            for slot in slots:
                held.add(slot, self._directory / f"{slot.name}.lock")
        except BaseException:
            held.close()
            raise
        return held

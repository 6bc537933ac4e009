"""Who may use a slot, with real processes that are killed while they hold it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worker.scenes import is_alive, read_pids, wait_until
from tests.worker.workshop import PROGRAMS
from worker.jobs.storage.lock import LockedError, holder_text, take_lock, take_lock_to_share
from worker.jobs.storage.paths import Home
from worker.slots.slot import Slot, SlotLocks

SLOTS = (Slot("cpu-0"), Slot("cpu-1"), Slot("cpu-2"))


def locks(directory: Path, worker_name: str = "gpu-1") -> SlotLocks:
    return SlotLocks(Home(directory).slots / "this-host", worker_name=worker_name)


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextmanager
def worker_with_rank(directory: Path, *slots: str) -> Iterator[tuple[int, list[int]]]:
    """A worker that holds the slots, and a rank for each that outlives it: their process ids."""
    pids = directory / "pids"
    pids.mkdir()
    held = Home(directory).slots / "this-host"
    with start("takes_slots.py", held, pids, "holds_locks.py", *slots) as worker:
        try:
            wait_until(lambda: len(read_pids(pids)) == 1 + len(slots), what="all processes")
            yield worker.pid, [pid for pid in read_pids(pids) if pid != worker.pid]
        finally:
            for pid in read_pids(pids):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), what=f"{pid} ends")


def test_a_free_slot_is_taken_once(tmp_path: Path) -> None:
    with locks(tmp_path, "first").take_free(SLOTS[:2]) as held:
        assert held.slots == SLOTS[:2]
        assert held.busy == ()
        with locks(tmp_path, "second").take_free(SLOTS) as rest:
            assert rest.slots == SLOTS[2:]
            assert [busy.slot for busy in rest.busy] == [*SLOTS[:2]]
    with locks(tmp_path, "second").take_free(SLOTS) as held:
        assert held.slots == SLOTS


def test_one_worker_cannot_take_its_own_slot_twice(tmp_path: Path) -> None:
    mine = locks(tmp_path)
    with mine.take_free(SLOTS), mine.take_free(SLOTS) as again:
        assert again.slots == ()


def test_a_slot_that_is_not_free_is_reported_with_who_holds_it(tmp_path: Path) -> None:
    with locks(tmp_path, "first").take_free(SLOTS[:1]) as held:
        (path,) = held.paths
        (busy,) = locks(tmp_path).take_free(SLOTS[:1]).busy
        assert busy.reason == (
            f"slot cpu-0 is not free: {path} is locked by another process "
            f"(worker first, process {os.getpid()})"
        )
        held.name_job("ftjob-1")
        (busy,) = locks(tmp_path).take_free(SLOTS[:1]).busy
        assert busy.reason.endswith(f"(worker first, process {os.getpid()}, job ftjob-1)")
    with locks(tmp_path, "x").take_free(SLOTS[:1]) as held:
        # shorter than the text before it
        assert held.paths[0].read_text() == f"worker x, process {os.getpid()}\n"


def test_the_slots_that_a_job_does_not_need_are_free_for_others(tmp_path: Path) -> None:
    with locks(tmp_path, "first").take_free(SLOTS) as held:
        held.keep(1)
        assert held.slots == SLOTS[:1]
        assert [path.name for path in held.paths] == ["cpu-0.lock"]
        assert len(held.descriptors) == 1
        with locks(tmp_path, "second").take_free(SLOTS) as rest:
            assert rest.slots == SLOTS[1:]


def test_a_closed_set_holds_nothing_and_can_be_closed_again(tmp_path: Path) -> None:
    held = locks(tmp_path).take_free(SLOTS)
    held.close()
    held.close()
    assert (held.slots, held.paths, held.descriptors) == ((), (), ())


def test_a_trainer_sees_the_gpus_among_the_slots(tmp_path: Path) -> None:
    with locks(tmp_path).take_free((Slot("GPU-1"), Slot("3"))) as held:
        assert held.visible_devices == ("GPU-1", "3")
    with locks(tmp_path).take_free(SLOTS) as held:
        assert held.visible_devices == ()


def test_nothing_stays_taken_when_one_lock_cannot_be_opened(tmp_path: Path) -> None:
    mine = locks(tmp_path)
    (Home(tmp_path).slots / "this-host" / "cpu-1.lock").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        mine.take_free(SLOTS)
    with mine.take_free(SLOTS[:1]) as held:
        assert held.slots == SLOTS[:1]


def test_a_rank_keeps_its_slot_taken_after_its_worker_was_killed(tmp_path: Path) -> None:
    with worker_with_rank(tmp_path, "cpu-0") as (worker, ranks):
        kill(worker)
        with locks(tmp_path).take_free(SLOTS[:2]) as held:
            assert held.slots == SLOTS[1:2]
            assert f"(worker gpu-0, process {worker}, job ftjob-1)" in held.busy[0].reason
        kill(ranks[0])
        with locks(tmp_path).take_free(SLOTS[:1]) as held:
            assert held.slots == SLOTS[:1]


def test_each_rank_keeps_its_own_slot_only(tmp_path: Path) -> None:
    with worker_with_rank(tmp_path, "cpu-0", "cpu-1") as (worker, ranks):
        kill(worker)
        kill(ranks[0])
        with locks(tmp_path).take_free(SLOTS[:2]) as held:
            assert len(held.slots) == 1
        kill(ranks[1])
        with locks(tmp_path).take_free(SLOTS[:2]) as held:
            assert len(held.slots) == 2


def test_a_killed_worker_without_ranks_leaves_its_slots_free(tmp_path: Path) -> None:
    with worker_with_rank(tmp_path, "cpu-0") as (worker, ranks):
        kill(ranks[0])
        assert locks(tmp_path).take_free(SLOTS[:1]).slots == ()
        kill(worker)
        with locks(tmp_path).take_free(SLOTS[:1]) as held:
            assert held.slots == SLOTS[:1]


def test_workers_with_overlapping_slots_never_hold_one_at_the_same_time(tmp_path: Path) -> None:
    held, signs = Home(tmp_path).slots / "this-host", tmp_path / "signs"
    signs.mkdir()
    sets = [("a", "b"), ("b", "c"), ("c", "b", "a"), ("b",)]
    workers = [
        start("takes_slots_in_a_loop.py", held, signs, 400, *(f"cpu-{name}" for name in names))
        for names in sets
    ]
    counts = [int(worker.communicate()[0] or -1) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert sum(counts) > 0


def test_whoever_loses_the_lock_while_its_mode_changes_has_not_taken_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock(2) gives the exclusive lock up before it takes the shared one: somebody comes in
    between here, always, as happens by chance in life."""
    path = tmp_path / "lock"
    rival = os.open(path, os.O_RDWR | os.O_CREAT)
    flock = fcntl.flock

    def flock_with_a_rival(descriptor: int, mode: int) -> None:
        if mode & fcntl.LOCK_SH:
            flock(descriptor, fcntl.LOCK_UN)
            flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
        flock(descriptor, mode)

    monkeypatch.setattr(fcntl, "flock", flock_with_a_rival)
    with pytest.raises(LockedError, match="is locked by another process"):
        take_lock_to_share(path, holder="me", patience_seconds=0)
    monkeypatch.undo()
    assert path.read_text() == ""
    os.close(rival)
    os.close(take_lock_to_share(path, holder="me", patience_seconds=0))


def test_a_lock_to_share_is_as_exclusive_as_another_for_those_who_want_to_take_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    shared = take_lock_to_share(path, holder=holder_text("w", job_id="j"), patience_seconds=0)
    with pytest.raises(LockedError, match=rf"\(worker w, process {os.getpid()}, job j\)"):
        take_lock(path, patience_seconds=0)
    with pytest.raises(LockedError):
        take_lock_to_share(path, holder="another", patience_seconds=0)
    os.close(shared)
    exclusive = take_lock(path, patience_seconds=0)
    with pytest.raises(LockedError):
        take_lock_to_share(path, holder="another", patience_seconds=0)
    os.close(exclusive)


def test_more_slots_than_are_held_cannot_be_kept(tmp_path: Path) -> None:
    with locks(tmp_path).take_free(SLOTS) as held:
        with pytest.raises(AssertionError, match="keep 4 of 3 slots"):
            held.keep(4)
        assert held.slots == SLOTS

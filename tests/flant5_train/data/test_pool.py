"""Pools of real processes, some of which end badly."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flant5_train.data.process_pool import ProcessLostError, ProcessPool
from tests.flant5_train.programs.pool_functions import (
    Nap,
    exits,
    kills_itself,
    refuses_odd_numbers,
    sleeps,
    takes_a_term_signal,
)
from tests.worker.scenes import environment, is_alive, read_pids, wait_until

REPOSITORY = Path(__file__).parents[3]


def children() -> set[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in text.split()}


def test_results_come_in_the_order_of_the_items() -> None:
    naps = [Nap(0.2, "first"), *[Nap(0, str(number)) for number in range(20)]]
    with ProcessPool(sleeps, size=3) as pool:
        assert list(pool.map(naps)) == [nap.name for nap in naps]


def test_a_pool_can_be_used_again_and_nothing_can_be_mapped() -> None:
    with ProcessPool(refuses_odd_numbers, size=2) as pool:
        assert list(pool.map([])) == []
        assert list(pool.map([2, 4])) == list(pool.map([2, 4])) == [2, 4]


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in range(0, 2000, 2):
            taken.append(number)
            yield number

    with ProcessPool(refuses_odd_numbers, size=2) as pool:
        results = pool.map(numbers())
        assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(taken) < 20


def test_an_error_is_raised_in_the_turn_of_its_item_and_says_where_it_was_raised() -> None:
    with ProcessPool(refuses_odd_numbers, size=2) as pool:
        results = pool.map([2, 4, 5, 7])
        assert [next(results), next(results)] == [2, 4]
        with pytest.raises(ValueError, match="5 is odd") as caught:
            next(results)
    (note,) = caught.value.__notes__
    assert "in refuses_odd_numbers" in note


def test_an_error_of_the_items_comes_after_the_results_before_it() -> None:
    def items() -> Iterator[Nap]:
        yield Nap(0.2, "whole")
        raise OSError("the rest can't be read")

    with ProcessPool(sleeps, size=2) as pool:
        results = pool.map(items())
        assert next(results) == "whole"
        with pytest.raises(OSError, match="the rest"):
            next(results)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_is_killed_is_told_with_its_signal_and_its_item(number: int) -> None:
    with (
        ProcessPool(kills_itself, size=2) as pool,
        pytest.raises(ProcessLostError) as caught,
    ):
        list(pool.map([number]))
    assert (caught.value.exit_code, caught.value.item) == (-number, number)


def test_a_process_that_exits_is_told() -> None:
    with ProcessPool(exits, size=1) as pool, pytest.raises(ProcessLostError) as caught:
        list(pool.map([3]))
    assert caught.value.exit_code == 3


def test_no_process_is_left_behind_whatever_ends_the_pool() -> None:
    before = children()
    with ProcessPool(sleeps, size=2) as pool:
        assert len(children() - before) == 2
        next(pool.map([Nap(0, "done"), Nap(600, "never")]))
    assert children() == before


def test_a_term_signal_to_the_whole_group_is_left_to_the_parent() -> None:
    with ProcessPool(takes_a_term_signal, size=1) as pool:
        assert list(pool.map([1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_pool_ends_at_once_with_the_process_that_has_it(
    tmp_path: Path, number: int, exit_code: int
) -> None:
    program = "tests.flant5_train.programs.hangs_in_a_pool"
    command = [sys.executable, "-m", program, str(tmp_path)]
    process = subprocess.Popen(command, env=environment(), cwd=REPOSITORY)
    wait_until(lambda: len(read_pids(tmp_path)) == 2, what="both processes are at work")
    process.send_signal(number)
    assert process.wait(timeout=30) == exit_code
    wait_until(lambda: not any(map(is_alive, read_pids(tmp_path))), what="they end")


def test_the_processes_that_encode_import_neither_torch_nor_transformers() -> None:
    program = (
        "import sys, flant5_train.data.process_pool, flant5_train.data.cache;"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], env=environment(), check=False)
    assert finished.returncode == 0

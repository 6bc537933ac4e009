"""Functions for the processes of a pool, named by behaviour."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple


class Nap(NamedTuple):
    """An item that takes a while."""

    seconds: float
    name: str


def sleeps(nap: Nap) -> str:
    time.sleep(nap.seconds)
    return nap.name


def refuses_odd_numbers(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def kills_itself(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


def exits(code: int) -> None:
    os._exit(code)


def takes_a_term_signal(number: int) -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    return number


def leaves_its_pid_and_hangs(directory: Path) -> None:
    (directory / f"{os.getpid()}.pid").write_text(str(os.getpid()))
    time.sleep(600)

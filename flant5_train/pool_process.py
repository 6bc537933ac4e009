"""Child process of a `ProcessPool`: receives a function, then items, and sends results.

Started by `flant5_train.data.process_pool` with the descriptor of its connection as the only
argument.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from flant5_train.process import die_with_parent, leave_the_cores_to_others


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands in for a result if the function raised an error."""

    error: Exception


def main(descriptor: int) -> None:
    die_with_parent()
    leave_the_cores_to_others()
    with Connection(descriptor) as connection:
        function = connection.recv()
        while True:
            try:
                item = connection.recv()
            except EOFError:
                return
            connection.send(_outcome(function, item))


def _outcome(function: Callable[[Any], object], item: object) -> object:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        # Pickling an error drops its traceback.
        error.add_note(f"in a process of a pool:\n{traceback.format_exc()}")
        return Failed(error)

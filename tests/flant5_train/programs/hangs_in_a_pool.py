"""Like rank 0 while it preprocesses: stops on SIGTERM; its pool's processes hang."""

import sys
from collections.abc import Iterator
from pathlib import Path

from flant5_train.data.process_pool import ProcessPool
from flant5_train.training.stopping import StopRequested, StopSignal
from tests.flant5_train.programs.pool_functions import leaves_its_pid_and_hangs


def main(directory: Path) -> int:
    StopSignal().listen()
    try:
        with ProcessPool(leaves_its_pid_and_hangs, size=2) as pool:
            list(pool.map(_same(directory)))
    except StopRequested:
        return 0
    return 1


def _same(directory: Path) -> Iterator[Path]:
    while True:
        yield directory


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

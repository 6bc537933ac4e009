"""A launcher whose rank gets to its first lines only when the file `go` is there; then it hangs.

argv: directory for launcher.pid, rank.pid and `end`, what became of the rank
"""

import os
import signal
import sys
import time
from pathlib import Path

from flant5_train.process import (
    AttemptLostError,
    die_with_parent,
    expect_ancestor,
    worker_process,
)

directory = Path(sys.argv[1])


def run_rank() -> None:
    (directory / "rank.pid").write_text(str(os.getpid()))
    while not (directory / "go").exists():
        time.sleep(0.01)
    die_with_parent()
    worker = worker_process()
    assert worker is not None
    try:
        expect_ancestor(worker)
    except AttemptLostError as error:
        (directory / "end").write_text(str(error))
    else:
        (directory / "end").write_text("trains")


if os.fork():
    (directory / "launcher.pid").write_text(str(os.getpid()))
    while True:
        signal.pause()
run_rank()

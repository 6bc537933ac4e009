"""A rank with a dataloader worker: holds its locks, forks, and both hang.

argv: directory for rank.pid and child.pid
"""

import os
import signal
import sys
from pathlib import Path

from flant5_train.process import hold_locks, locks_to_hold

hold_locks(locks_to_hold())
name = "rank" if os.fork() else "child"
Path(sys.argv[1], f"{name}.pid").write_text(str(os.getpid()))
while True:
    signal.pause()

"""Under torchrun: rank 1 ends once all run, the others ignore SIGTERM and hang.

argv: directory for the process ids, exit code of rank 1; below zero, the signal that kills it
"""

import os
import signal
import sys
import time
from pathlib import Path

directory, exit_code = Path(sys.argv[1]), int(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
draft = directory / f"draft-{os.getpid()}"
draft.write_text(str(os.getpid()))
draft.replace(directory / f"{os.getpid()}.pid")
while len(list(directory.glob("*.pid"))) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.01)
if os.environ["RANK"] == "1":
    if exit_code < 0:
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)
while True:
    signal.pause()

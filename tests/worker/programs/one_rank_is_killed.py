"""Under torchrun: rank 1 is killed once all run, the others ignore SIGTERM and hang.

argv: directory for the process ids
"""

import os
import signal
import sys
import time
from pathlib import Path

directory = Path(sys.argv[1])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
draft = directory / f"draft-{os.getpid()}"
draft.write_text(str(os.getpid()))
draft.replace(directory / f"{os.getpid()}.pid")
while len(list(directory.glob("*.pid"))) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.01)
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    signal.pause()

"""Leaves its process id in the directory argv[1] and never ends by itself."""

import os
import signal
import sys
from pathlib import Path

Path(sys.argv[1], f"{os.getpid()}.pid").write_text(str(os.getpid()))
while True:
    signal.pause()

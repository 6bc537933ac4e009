"""As hangs.py, but SIGTERM makes it leave a file `saved` and end with exit code 0."""

import os
import signal
import sys
from pathlib import Path

directory = Path(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
(directory / f"{os.getpid()}.pid").write_text(str(os.getpid()))
signal.sigwait({signal.SIGTERM})
(directory / "saved").touch()

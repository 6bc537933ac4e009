"""Starts a child in a session of its own, waits until it runs, and ends with exit code 3."""

import subprocess
import sys
import time
from pathlib import Path

subprocess.Popen(
    [sys.executable, Path(__file__).with_name("hangs.py"), sys.argv[1]], start_new_session=True
)
while not list(Path(sys.argv[1]).glob("*.pid")):
    time.sleep(0.01)
sys.exit(3)

"""A trainer that leaves its process id in the run directory, and ends with the exit code in the
file `end` there once it exists.

argv: run.json, of which only the place counts
"""

import os
import sys
import time
from pathlib import Path

directory = Path(sys.argv[1]).parent
draft = directory / f"draft-{os.getpid()}"
draft.write_text(str(os.getpid()))
draft.replace(directory / f"{os.getpid()}.pid")
print("the member's first words", flush=True)
end = directory / "end"
while not (end.exists() and end.read_text()):
    time.sleep(0.01)
print("the member's last words", file=sys.stderr)
sys.exit(int(end.read_text()))

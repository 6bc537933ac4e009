"""Starts two children, each in a session of its own, as torchrun does; then hangs itself.

argv: directory for the process ids, name of the children's program
"""

import runpy
import subprocess
import sys
from pathlib import Path

here = Path(__file__).parent
for _ in range(2):
    subprocess.Popen([sys.executable, here / sys.argv[2], sys.argv[1]], start_new_session=True)
runpy.run_path(str(here / "hangs.py"))

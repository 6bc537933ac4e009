"""A worker that takes slots and starts a rank per slot, which hangs; then it hangs itself.

argv: directory of the locks, directory for the process ids, program of the rank, slots
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

from worker.slots.slot import Slot, SlotLocks

here = Path(__file__).parent
locks, pids, program, *names = sys.argv[1:]
held = SlotLocks(Path(locks), worker_name="gpu-0").take_free(map(Slot, names))
assert len(held.slots) == len(names), held.busy
held.name_job("ftjob-1")
for path in held.paths:
    environment = os.environ | {"FLANT5_HELD_LOCKS": json.dumps([str(path)])}
    command = [sys.executable, str(here / program), pids]
    subprocess.Popen(command, env=environment, start_new_session=True)
sys.argv[1:] = [pids]
runpy.run_path(str(here / "hangs.py"))

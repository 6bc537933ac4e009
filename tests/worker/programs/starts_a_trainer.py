"""What the worker is to a supervisor: its parent, with the other end of the lifeline.

argv: log file, then the command; prints the supervisor's process id and waits
"""

import os
import signal
import sys
from pathlib import Path

from worker.processes.trainer_process import TrainerCommand, TrainerProcess

command = TrainerCommand(
    argv=sys.argv[2:], environment=os.environ, log=Path(sys.argv[1]), grace_seconds=5
)
trainer = TrainerProcess(command, held=(os.open("/dev/null", os.O_RDONLY),))
print(trainer.pid, flush=True)
while True:
    signal.pause()

"""A worker that again and again takes what is free of its slots and says so in files of its own.

argv: directory of the locks, directory of the signs, number of rounds, slots
prints how many slots it held, all rounds together; fails when a slot has another's sign
"""

import os
import sys
from pathlib import Path

from worker.slots.slot import Slot, SlotLocks

locks = SlotLocks(Path(sys.argv[1]), worker_name=f"w{os.getpid()}")
signs = Path(sys.argv[2])
slots = tuple(map(Slot, sys.argv[4:]))
num_held = 0
for _ in range(int(sys.argv[3])):
    with locks.take_free(slots) as held:
        for slot in held.slots:
            (signs / slot.name).touch(exist_ok=False)
        os.sched_yield()
        for slot in held.slots:
            (signs / slot.name).unlink()
        num_held += len(held.slots)
print(num_held)

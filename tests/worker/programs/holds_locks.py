"""A rank that nothing ends with its parent: shares the locks that it is told, then hangs."""

import runpy
from pathlib import Path

from flant5_train.process import hold_locks, locks_to_hold

hold_locks(locks_to_hold())
runpy.run_path(str(Path(__file__).with_name("hangs.py")))

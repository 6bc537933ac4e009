"""A training process as torchrun starts it: asks to be killed with its parent, then hangs."""

import os
import runpy
from pathlib import Path

from flant5_train.protocol.host import end_with

end_with(os.getppid())
runpy.run_path(str(Path(__file__).with_name("hangs.py")))

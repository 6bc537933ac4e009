"""`trains.py` that writes its stacks when it is asked to; it hangs where that one is held."""

import runpy
from pathlib import Path

from flant5_train.process import dump_stacks_on_request

dump_stacks_on_request()
runpy.run_path(str(Path(__file__).with_name("trains.py")), run_name="__main__")

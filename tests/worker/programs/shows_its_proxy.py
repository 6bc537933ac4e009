"""A trainer that can't reach its proxy, and names it in its log and in its error."""

import json
import os
import sys
from pathlib import Path

from flant5_train.protocol.failure import Failure, FailureCode, TrainingError

config = json.loads(Path(sys.argv[1]).read_text())
message = f"can't connect to {os.environ['HTTPS_PROXY']}"
print(message)
error = TrainingError(FailureCode.BAD_MODEL, message, param="model")
failure = Failure.of(error, code=error.code, rank=0)
failure.write_first(Path(config["run_directory"]) / "error.json")
sys.exit(1)

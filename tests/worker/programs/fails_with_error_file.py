"""A trainer that finds a bad record: error.json, then exit code 1."""

import json
import sys
from pathlib import Path

from flant5_train.protocol.failure import Failure, FailureCode, TrainingError

config = json.loads(Path(sys.argv[1]).read_text())
error = TrainingError(FailureCode.BAD_DATA, 'record 3 (line 9): no "value"', param="training_file")
failure = Failure.of(error, code=error.code, rank=0)
failure.write_first(Path(config["run_directory"]) / "error.json")
sys.exit(1)

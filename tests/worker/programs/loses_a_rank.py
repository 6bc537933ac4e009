"""torchrun whose rank 1 was killed: rank 0 complains first, torchrun sums up."""

import json
import sys
from pathlib import Path

from flant5_train.protocol.failure import Failure, FailureCode

config = json.loads(Path(sys.argv[1]).read_text())
failure = Failure(code=FailureCode.INTERNAL, message="Connection closed by peer [127.0.0.1]")
failure.write_first(Path(config["run_directory"]) / "error.json")
print("Root Cause (first observed failure):\n[0]:", file=sys.stderr)
print("  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 4711)", file=sys.stderr)
sys.exit(1)

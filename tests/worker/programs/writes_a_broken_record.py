"""A trainer whose progress holds a line that is no record; it succeeds."""

import json
import sys
from pathlib import Path

from flant5_train.protocol.progress import ModelSaved

config = json.loads(Path(sys.argv[1]).read_text())
model = ModelSaved(path=config["output_dir"], step=1, train_loss=0.5, tokens_seen=9)
with Path(config["run_directory"], "progress.jsonl").open("a") as file:
    file.write('{"type":"step","loss":"high"}\n' + model.model_dump_json() + "\n")

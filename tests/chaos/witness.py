"""The real trainer, which testifies that it lives: `torchrun -m tests.chaos.witness run.json`.

Each process appends to `<run directory>/witness/<pid>.jsonl`, in the format of
`tests.chaos.testimony`; then it is `flant5_train.train`, unchanged.
"""

from flant5_train.process import die_with_parent

die_with_parent()

import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.chaos.testimony import BEAT_SECONDS, WitnessLog  # noqa: E402


def main() -> None:
    log = WitnessLog(Path(sys.argv[1]).parent)
    log.start(launch=os.environ["TORCHELASTIC_RUN_ID"], rank=int(os.environ["RANK"]))
    threading.Thread(target=_beat, args=(log,), daemon=True).start()
    try:
        from flant5_train.train import main as train

        train()
    finally:
        log.append("end")


def _beat(log: WitnessLog) -> None:
    pause = threading.Event()
    while not pause.wait(BEAT_SECONDS):
        log.append("beat")


if __name__ == "__main__":
    main()

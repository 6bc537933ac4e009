"""Break the service, check the promises: `python -m tests.chaos --seed 1 --faults 50`.

`--rollbacks 20` makes 20 of the faults roll Redis back by ten seconds.

`python -m tests.chaos table build/chaos/*.json` prints what all runs came to.
Exits with 1 when a promise was broken; the HOME of such a run is kept beside its report.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tests.chaos.report import read_reports, table
from tests.chaos.run import SETTLE_SECONDS, Dose, run_chaos
from tests.stack.service import REPOSITORY

OUTPUT = REPOSITORY / "build" / "chaos"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["table"]:
        print(table(read_reports([Path(argument) for argument in arguments[1:]])), end="")
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--settle-seconds", type=float, default=SETTLE_SECONDS)
    parser.add_argument("--rollbacks", type=int, default=0)
    options = parser.parse_args(arguments)
    home = OUTPUT / f"home-{options.seed}"
    shutil.rmtree(home, ignore_errors=True)
    report = run_chaos(
        home,
        Dose(options.seed, options.faults, options.rollbacks),
        settle_seconds=options.settle_seconds,
        say=_say,
    )
    path = OUTPUT / f"{options.seed}.json"
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print(report.account())
    if report.violations:
        print(f"the evidence is in {home}")
        return 1
    shutil.rmtree(home)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

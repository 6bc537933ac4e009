"""Chat on CPUs: `python -m benchmarks serving`.

A model of the shape of flan-t5-small with random weights, greedy answers of 64 tokens. First, eight
requests half a second apart join the running batch, compared with eight that wait for its end. Then
the same requests alternate with CTranslate2, if it is installed.
`python -m benchmarks.serving base` measures the other size.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.answering import NUM_TOKENS, Give, OurAnswers, build_model, converted
from benchmarks.row import Row
from benchmarks.table import table
from flant5_train.data.encoding import Ids

TITLE = "Chat on CPUs"
_NUM_ROUNDS = 3
_FIRST_WORD, _END = 300, 1


def run(size: str = "small") -> list[Row]:
    """Measures the time to the first token, and the speed compared with CTranslate2."""
    with TemporaryDirectory() as scratch:
        directory = Path(scratch) / "model"
        loaded = build_model(directory, size)
        ours = OurAnswers(loaded)
        rows = [_waits(size, ours)]
        if find_spec("ctranslate2"):
            for weights in ("float32", "int8"):
                theirs = converted(directory, loaded.tokenizer, weights=weights)
                rows += _beside(f"{size}, CTranslate2 {weights}", ours, theirs)
        return rows


def _waits(size: str, ours: OurAnswers) -> Row:
    sources = _sources(num=8, num_tokens=64)
    joining, waiting = (
        [
            seconds
            for _ in range(_NUM_ROUNDS)
            for seconds in ours.waits(sources, every_seconds=0.5, joins=joins)
        ]
        for joins in (True, False)
    )
    ratio = median(joining) / median(waiting)
    name = f"{size}: first token of 8 requests 0.5 s apart, against a batch that none joins"
    return Row(name, median(joining), median(waiting), ratio, "s", "<= 0.7")


def _beside(name: str, ours: OurAnswers, theirs: Give) -> Iterator[Row]:
    for num in (1, 8):
        for num_tokens in (64, 512):
            sources = _sources(num=num, num_tokens=num_tokens)
            seconds: dict[bool, list[float]] = {True: [], False: []}
            said: dict[bool, list[list[int]]] = {}
            for _ in range(_NUM_ROUNDS):
                for is_ours, give in ((True, ours.give), (False, theirs)):
                    began = time.perf_counter()
                    said[is_ours] = give(sources)
                    seconds[is_ours].append(time.perf_counter() - began)
            our_speed, their_speed = (
                num * NUM_TOKENS / median(seconds[is_ours]) for is_ours in (True, False)
            )
            num_same = sum(a == b for a, b in zip(said[True], said[False], strict=True))
            row = f"{name}: {num} at a time, sources of {num_tokens}; {num_same} answers the same"
            yield Row(row, our_speed, their_speed, our_speed / their_speed, "tokens/s", "")


def _sources(*, num: int, num_tokens: int) -> Sequence[Ids]:
    chance = np.random.default_rng(num * num_tokens)
    words = chance.integers(_FIRST_WORD, 3_900, (num, num_tokens))
    words[:, -1] = _END
    return [*words.astype(np.uint16)]


if __name__ == "__main__":
    print(table(run(*sys.argv[1:])))

"""Preprocesses a file as our trainer does.

    python -m benchmarks.encode FILE VOCABULARY CACHE

Prints the seconds, and the private memory of the finished data set in this process after one read
of every pair: the memory that each further rank needs.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.memory import private_memory
from benchmarks.stopwatch import Stopwatch
from flant5_train import DataArguments, load_tokenizer, make_supervised_data_module


def main(file: str, vocabulary: str, cache: str) -> None:
    tokenizer = load_tokenizer(Path(vocabulary))
    arguments = DataArguments(data_path=file, cache_directory=cache)
    watch = Stopwatch()
    make_supervised_data_module(tokenizer, arguments)
    spent = watch.lap()
    before = private_memory()
    data = make_supervised_data_module(tokenizer, arguments, builds=False)["train_dataset"]
    num_tokens = sum(len(data[number]["labels"]) for number in range(len(data)))
    used = private_memory() - before
    print(json.dumps({**asdict(spent), "data_bytes": used, "target_tokens": num_tokens}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Encodes a conversation file as rank 0 does, says so after each block, and stops on SIGTERM."""

import sys
from pathlib import Path

import flant5_train.cache
from flant5_train.cache import DataCache
from flant5_train.config import OnBadRecord
from flant5_train.encoder import encoder_for
from flant5_train.progress import FileEncoding
from flant5_train.stopping import StopRequested, StopSignal
from flant5_train.tokenizer import load_tokenizer


def tell(record: FileEncoding) -> None:
    print(f"encoded {record.bytes_done} bytes", flush=True)


def main(path: str, vocabulary: str, cache: str) -> None:
    StopSignal().listen()
    flant5_train.cache.SECONDS_BETWEEN_REPORTS = 0.0
    encoder = encoder_for(load_tokenizer(vocabulary))
    try:
        DataCache(Path(cache), encoder, OnBadRecord.FAIL, report=tell).build(Path(path))
    except StopRequested:
        print("stopped", flush=True)
    else:
        print("finished", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Encodes a conversation file as rank 0 does, says so after each block, and stops on SIGTERM."""

import sys
from pathlib import Path

import flant5_train.data.cache
from flant5_train.config import OnBadRecord
from flant5_train.data.cache import DataCache
from flant5_train.data.encoding import encoder_for
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.progress import FileEncoding
from flant5_train.training.stopping import StopRequested, StopSignal


def tell(record: FileEncoding) -> None:
    print(f"encoded {record.bytes_done} bytes", flush=True)


def main(path: str, vocabulary: str, cache: str) -> None:
    StopSignal().listen()
    flant5_train.data.cache.SECONDS_BETWEEN_REPORTS = 0.0
    encoder = encoder_for(load_tokenizer(vocabulary))
    try:
        DataCache(Path(cache), encoder, OnBadRecord.FAIL, report=tell).build(Path(path))
    except StopRequested:
        print("stopped", flush=True)
    else:
        print("finished", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

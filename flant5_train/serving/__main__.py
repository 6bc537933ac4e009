"""`python -m flant5_train.serving`: runs the inference process.

It reads requests from standard input and writes responses to standard output, in the format of
`flant5_train.protocol.inference`. It exits when its input ends.
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import IO

from flant5_train.process import die_with_parent
from flant5_train.protocol.inference import StreamEvent, parse_order
from flant5_train.serving.request_queue import RequestQueue


def main(argv: Sequence[str] | None = None) -> int:
    die_with_parent()
    options = _options(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    answers = _claim_stdout()
    requests = RequestQueue()
    # A daemon thread: at exit it may still be blocked in a read.
    threading.Thread(target=_read_orders, args=(requests,), daemon=True).start()

    import torch

    from flant5_train.serving.model_cache import model_cache_on
    from flant5_train.serving.server import EngineLimits, InferenceEngine

    def send(piece: StreamEvent) -> None:
        answers.write(piece.model_dump_json() + "\n")
        answers.flush()

    cache = model_cache_on(
        torch.device(options.device),
        max_bytes=options.max_model_bytes,
        max_source_tokens=options.max_source_tokens,
    )
    limits = EngineLimits(max_rows=options.max_rows, max_answer_tokens=options.max_answer_tokens)
    InferenceEngine(cache, requests, limits=limits, send=send).run()
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flant5_train.serving", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--max-model-bytes", type=int, default=8 * 2**30)
    parser.add_argument("--max-source-tokens", type=int, default=4096)
    parser.add_argument("--max-answer-tokens", type=int, default=2048)
    parser.add_argument("--max-rows", type=int, default=8)
    return parser.parse_args(argv)


def _claim_stdout() -> IO[str]:
    """Reserves standard output for responses, and redirects prints of libraries to standard
    error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _read_orders(requests: RequestQueue) -> None:
    try:
        for line in sys.stdin.buffer:
            requests.put(parse_order(line))
    finally:
        requests.close()


if __name__ == "__main__":
    sys.exit(main())

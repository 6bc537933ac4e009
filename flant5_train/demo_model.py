"""The demo base model: a tiny Flan-T5-shaped model whose vocabulary is trained on the job's file.

Built in seconds, so that the whole service can be tried without a GPU and without a model hub. It
knows nothing yet: what it answers is what it is trained on.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from filelock import FileLock
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from flant5_train.config import OnBadRecord
from flant5_train.conversations import ConversationFile
from flant5_train.lossless import SYMBOLS
from flant5_train.prompt import write_script
from flant5_train.tokenizer import SENTENCEPIECE_FILE, load_tokenizer

NUM_PIECES = 4000
_MAX_CONVERSATIONS = 20_000
_DEMO_SIZES = {
    "d_model": 256,
    "d_kv": 32,
    "num_heads": 8,
    "d_ff": 512,
    "num_layers": 2,
    "num_decoder_layers": 2,
}
_WITHOUT_SYMBOLS = str.maketrans(dict.fromkeys(SYMBOLS, " "))


def demo_model(data_path: Path, models_directory: Path) -> Path:
    """The directory of the demo model for a file, which is built when it isn't there yet.

    Raises DataError when no conversation can be read.
    """
    with data_path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    target = models_directory / f"flant5-demo-{key}"
    models_directory.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            build_model(draft, texts=_texts(data_path), sizes=_DEMO_SIZES)
            os.replace(draft, target)
    return target


def build_model(directory: Path, *, texts: Iterator[str], sizes: Mapping[str, int]) -> None:
    """Write a model with random weights (always the same ones) and a vocabulary of up to 4,000
    pieces, fewer when the texts have no more. `sizes` are fields of `T5Config`."""
    directory.mkdir(parents=True)
    (directory / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(texts))
    save_random_model(directory, sizes=sizes)


def save_random_model(directory: Path, *, sizes: Mapping[str, int]) -> None:
    """Add to a directory that holds a vocabulary a model for it, and the other tokenizer files."""
    tokenizer = load_tokenizer(directory)
    config = small_config(vocab_size=len(tokenizer), **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(config)
    # The library starts the output layer with the embedding's spread: the first loss would be tens.
    model.lm_head.weight.data *= config.d_model**-0.5
    model.generation_config = GenerationConfig(
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, max_new_tokens=512
    )
    model.config.tie_word_embeddings = False
    model.save_pretrained(directory)
    tokenizer.save_pretrained(str(directory))


def train_vocabulary(texts: Iterator[str], *, num_pieces: int = NUM_PIECES) -> bytes:
    """A sentencepiece unigram model with T5's special ids: pad 0, eos 1, unknown 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text.translate(_WITHOUT_SYMBOLS) for text in texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=num_pieces,
        hard_vocab_limit=False,
        character_coverage=0.9995,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=os.cpu_count() or 1,
        minloglevel=2,
    )
    return model.getvalue()


def _texts(data_path: Path) -> Iterator[str]:
    """The sentences of a file; malformed records are for the preprocessing to judge."""
    conversations = ConversationFile(data_path, OnBadRecord.SKIP)
    for conversation in islice(conversations, _MAX_CONVERSATIONS):
        for segment in write_script(conversation).segments:
            yield from segment.text.splitlines()


def small_config(**sizes: int) -> T5Config:
    """A Flan-T5-shaped configuration (gated GELU, an output layer of its own) without dropout."""
    settings: dict[str, Any] = {
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    }
    return T5Config(**settings | sizes)

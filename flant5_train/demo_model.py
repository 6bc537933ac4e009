"""The demo base model: a tiny Flan-T5-shaped model whose vocabulary is trained on the job's file.

Built in seconds, to try the whole service without a GPU and without a model hub. It is not
pretrained: all its answers come from the job's data.
"""

import io
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from filelock import FileLock
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from flant5_train.config import OnBadRecord
from flant5_train.data.conversations import ConversationFile
from flant5_train.data.prompt import render_prompt
from flant5_train.disk import disk_full_context
from flant5_train.models.exported_model import give_weights_the_umask
from flant5_train.models.lossless_tokenizer import SYMBOLS
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE, load_tokenizer
from flant5_train.protocol.demo_model import DEMO_SIZES, NUM_PIECES, demo_directory

_POLL_SECONDS = 0.1
_MAX_CONVERSATIONS = 20_000
_WITHOUT_SYMBOLS = str.maketrans(dict.fromkeys(SYMBOLS, " "))


def demo_model(data_path: Path, models_directory: Path, *, builds: bool) -> Path:
    """Returns the directory of the demo model for a file that was checked before.

    The process with `builds` builds it if missing; the others wait. If that process fails, torchrun
    kills them too. transformers writes models on rank 0 only.
    """
    target = demo_directory(data_path, models_directory)
    if builds:
        _build_once(data_path, target)
    while not target.exists():
        time.sleep(_POLL_SECONDS)
    return target


def _build_once(data_path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            draft = target.with_suffix(".draft")
            clear = partial(shutil.rmtree, draft, ignore_errors=True)
            clear()
            with disk_full_context("the demo model", target.parent, undo=clear):
                build_model(draft, texts=_texts(data_path), sizes=DEMO_SIZES)
                os.replace(draft, target)


def build_model(directory: Path, *, texts: Iterator[str], sizes: Mapping[str, int]) -> None:
    """Writes a model with random weights (fixed seed) and a vocabulary of up to 4,000 pieces.

    `sizes` are fields of `T5Config`. Few texts may give fewer pieces.
    """
    directory.mkdir(parents=True)
    (directory / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(texts))
    save_random_model(directory, sizes=sizes)


def save_random_model(directory: Path, *, sizes: Mapping[str, int]) -> None:
    """Adds a random model and its tokenizer files to a directory that holds a vocabulary."""
    tokenizer = load_tokenizer(directory)
    config = small_config(vocab_size=len(tokenizer), **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(config)
        # Untied, the model is built with three embeddings; T5 has one.
        model.set_input_embeddings(model.shared)
        _start_where_it_learns(model)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, max_new_tokens=512
    )
    model.save_pretrained(directory)
    give_weights_the_umask(directory)
    tokenizer.save_pretrained(str(directory))


def train_vocabulary(texts: Iterator[str], *, num_pieces: int = NUM_PIECES) -> bytes:
    """Returns a sentencepiece unigram model with T5's special ids: pad 0, eos 1, unknown 2."""
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
        num_threads=1,  # threads sum in random order: the vocabulary would vary
        minloglevel=2,
    )
    return model.getvalue()


def _texts(data_path: Path) -> Iterator[str]:
    """Yields the lines of text of a file that was checked before."""
    conversations = ConversationFile(data_path, OnBadRecord.SKIP)
    for conversation in islice(conversations, _MAX_CONVERSATIONS):
        for segment in render_prompt(conversation).segments:
            yield from segment.text.splitlines()


def _start_where_it_learns(model: T5ForConditionalGeneration) -> None:
    """Rescales the library's initial weights, which are not meant for training from scratch.

    Without this, the first loss is in the tens, because the output layer is scaled like the
    embedding. With position biases near zero, the model can't count for thousands of steps: it
    never ends a "```".
    """
    model.lm_head.weight.data *= model.config.d_model**-0.5
    for name, weight in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.normal_(weight.data, std=2.0)


def small_config(**sizes: int) -> T5Config:
    """Returns a Flan-T5-shaped configuration (gated GELU, untied output layer) without dropout."""
    settings: dict[str, Any] = {
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    }
    config = T5Config(**settings | sizes)
    # transformers 5 ignores the argument and sets True, which would tie a new model.
    config.tie_word_embeddings = False
    return config

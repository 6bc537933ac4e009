"""A small base model that lacks our tokens, as Flan-T5 does, and runs in this process."""

import shutil
from pathlib import Path

import torch
from transformers import GenerationConfig, T5ForConditionalGeneration, T5Tokenizer

from flant5_train.demo_model import small_config
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE
from flant5_train.training.progress_log import ProgressLog
from flant5_train.training.run import _run, parse_run
from flant5_train.training.stopping import StopSignal
from tests.flant5_train.conftest import EXAMPLES, TINY
from tests.flant5_train.runs import Run


def save_base_model(vocabulary: Path, directory: Path, **sizes: int) -> Path:
    """A T5 with the tokens of `vocabulary` and T5's sentinels only, and some rows to spare."""
    directory.mkdir()
    shutil.copy(vocabulary / SENTENCEPIECE_FILE, directory)
    tokenizer = T5Tokenizer.from_pretrained(directory)
    tokenizer.save_pretrained(directory)
    config = small_config(vocab_size=len(tokenizer) + 28, **TINY | sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(config)
    # One weight in three places, as in a Flan-T5.
    model.set_input_embeddings(model.shared)
    model.lm_head.weight.data *= config.d_model**-0.5
    model.generation_config = GenerationConfig(
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1
    )
    model.save_pretrained(directory)
    return directory


def train_here(output_dir: Path, base: Path, **settings: object) -> Run:
    """A run of one process, in this one: seconds faster than under torchrun."""
    flags = {
        "model_name_or_path": base,
        "data_path": EXAMPLES,
        "output_dir": output_dir,
        "per_device_train_batch_size": 4,
        "model_max_length": 96,
        "learning_rate": 1e-2,
        "warmup_ratio": 0,
        "save_steps": 1000,
        "finetuning_type": "lora",
        "lora_rank": 4,
        **settings,
    }
    argv = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    arguments = parse_run(argv)
    log = ProgressLog(output_dir / "progress.jsonl")
    try:
        _run(arguments, log.append, StopSignal())
    finally:
        log.close()
    return Run(output_dir, 0, "")


def logits(model: T5ForConditionalGeneration) -> torch.Tensor:
    """Of texts with new tokens on both sides, on the CPU."""
    ids = torch.tensor([[17, 1105, 1250, 301, 1], [1362, 5, 1099, 1100, 1]]).to(model.device)
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=ids, decoder_input_ids=ids.flip(1)).logits
    return result.float().cpu()

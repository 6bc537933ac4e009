#!/usr/bin/env bash
# AutoPeftModelForSeq2SeqLM replaces the output layer of an untied T5 when the tokenizer has grown.
#
# Versions: peft 0.21.2, transformers 5.23.0, torch 2.13.0 (CPU), Python 3.11.
# Expected: AutoPeft... loads what get_peft_model(...).save_pretrained() saved.
# Actual: a tokenizer beside the adapter with more ids than the base has rows makes AutoPeft call
#   base.resize_token_embeddings(len(tokenizer)). On a T5 with a separate output layer
#   (`tie_word_embeddings: false`: Flan-T5, T5 v1.1) that call ties again in transformers 5:
#   lm_head becomes the embeddings. There is no warning: the log at loading has "we will NOT tie".
# Output (random base of 16 rows, tokenizer of 20; mean log-probability of the same six tokens):
#   base                                          -3.3281
#   base.resize_token_embeddings(20)             -44.0231   tied
#   the same, config.tie_word_embeddings = False  -3.4954   not tied
#   LoRA model in memory, as saved                -3.3388
#   AutoPeftModelForSeq2SeqLM.from_pretrained     -3.1435   wrong, tied
#   the three lines of the workaround             -3.3388   right
# Consequence: a LoRA adapter with more added tokens than the base has spare rows (Flan-T5: 28) loads
#   and answers with untrained probabilities. Resizing before training ties the base too.
# Workaround: base = AutoModelForSeq2SeqLM.from_pretrained(...); base.config.tie_word_embeddings = False;
#   base.resize_token_embeddings(rows); PeftModel.from_pretrained(base, adapter).
#
# Exit 0: as described. 1: the behaviour has changed. 2: the packages could not be installed.
set -euo pipefail

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error
{
    python3 -m venv venv &&
        venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
} || { echo "the pinned packages could not be installed" >&2; exit 2; }

venv/bin/python -W ignore - <<'EOF'
import json
import sys
from pathlib import Path

import torch
from peft import AutoPeftModelForSeq2SeqLM, LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast
from transformers import T5Config, T5ForConditionalGeneration

torch.manual_seed(0)
config = T5Config(
    vocab_size=16, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=4,
    feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
)
model = T5ForConditionalGeneration(config)
model.lm_head.weight = torch.nn.Parameter(torch.randn(16, 64) * 0.1)  # a separate one, as in published models
model.save_pretrained("base")
file = Path("base/config.json")  # transformers 5 writes true where published models have false
file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": False}))
names = ["<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(3, 20))]
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>")),
    pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
)


def resized(*, is_tie_set_off: bool) -> torch.nn.Module:
    base = AutoModelForSeq2SeqLM.from_pretrained("base")
    if is_tie_set_off:
        base.config.tie_word_embeddings = False
    base.resize_token_embeddings(len(tokenizer))
    return base


def look(name: str, model: torch.nn.Module) -> float:
    labels = torch.tensor([[4, 7, 12, 8, 6, 1]])
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([[5, 9, 3, 1]]), labels=labels).logits
    mean = logits.log_softmax(-1).gather(-1, labels[..., None]).mean().item()
    is_tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    print(f"{name:45} {mean:9.4f}  {'tied' if is_tied else 'not tied'}")
    return mean


base = look("base", AutoModelForSeq2SeqLM.from_pretrained("base"))
tied = look("base, resized", resized(is_tie_set_off=False))
look("base, resized with tie_word_embeddings False", resized(is_tie_set_off=True))
lora = LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q", "v"], init_lora_weights=False)
trained = get_peft_model(resized(is_tie_set_off=True), lora)
right = look("LoRA model in memory", trained)
trained.save_pretrained("adapter")
tokenizer.save_pretrained("adapter")
auto = look("AutoPeftModelForSeq2SeqLM", AutoPeftModelForSeq2SeqLM.from_pretrained("adapter"))
cured = look("cure", PeftModel.from_pretrained(resized(is_tie_set_off=True), "adapter"))
if abs(tied - base) < 1 or abs(auto - right) < 0.01 or abs(cured - right) > 1e-4:
    sys.exit("changed: resizing does not tie, or AutoPeft loads what was saved, or the workaround fails")
EOF

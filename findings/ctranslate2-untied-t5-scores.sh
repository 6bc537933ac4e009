#!/usr/bin/env bash
# CTranslate2 divides the logits of an untied T5 by sqrt(d_model) when transformers 5 reads the model.
#
# Versions: ctranslate2 4.8.5, transformers 5.23.0 and 4.57.6, torch 2.13.0 (CPU), Python 3.11.
# Expected: the conversion depends on the directory only, not on the version of transformers.
# Actual: Flan-T5 and T5 v1.1 have a separate output layer (`tie_word_embeddings: false`), and their
#   logits are not scaled. The converter scales unless config.tie_word_embeddings is false. In
#   transformers 5 T5Config always has true (and a separate flag `scale_decoder_outputs`), so the
#   same directory is converted with a scale. The conversion prints no warning.
# Output (random model, d_model 64; mean log-probability of five given tokens):
#   transformers 4.57.6 and 5.23.0: -11.6783
#   converted under 4.57.6:         -11.6783
#   converted under 5.23.0:          -3.3351, as with logits / 8
#   both conversions against each other: greedy 20 of 20 answers equal, beam of 4: 5 of 20
# Consequence: greedy answers are right, so a quick look finds nothing. Scores, beam search and
#   sampling (the effective temperature is 8 times the requested one, 22.6 times for d_model 512)
#   are wrong.
# Workaround: convert under transformers 4.57. To check, compare a score with the original's, not an answer.
#
# Exit 0: as described. 1: the behaviour has changed. 2: the packages could not be installed.
set -euo pipefail

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TRANSFORMERS_VERBOSITY=error TQDM_DISABLE=1

install() {
    venv/bin/pip install --quiet "$@" || { echo "the pinned packages could not be installed" >&2; exit 2; }
}

cat > stage.py <<'EOF'
import json
import sys

import ctranslate2
import torch
import transformers
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

NAMES = ["<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(3, 32))]
SOURCE, TARGET = [5, 9, 3, 1], [4, 7, 12, 8, 6]

if transformers.__version__.startswith("4."):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained("model")
    vocabulary = WordLevel({name: id for id, name in enumerate(NAMES)}, unk_token="<unk>")
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(vocabulary), **special).save_pretrained("model")

with torch.no_grad():
    model = T5ForConditionalGeneration.from_pretrained("model").eval()
    start = torch.tensor([[0, *TARGET[:-1]]])
    logits = model(input_ids=torch.tensor([SOURCE]), decoder_input_ids=start).logits[0]
TransformersConverter("model").convert(transformers.__version__)
translator = ctranslate2.Translator(transformers.__version__, compute_type="float32")


def mean_of(logits: torch.Tensor) -> float:
    return logits.log_softmax(-1)[range(len(TARGET)), TARGET].mean().item()


def answers(**options: float) -> list[list[str]]:
    inputs = [[NAMES[3 + (7 * n + k * k) % 29] for k in range(6)] + ["</s>"] for n in range(20)]
    found = translator.translate_batch(inputs, max_decoding_length=8, **options)
    return [each.hypotheses[0] for each in found]


scores = translator.score_batch([[NAMES[i] for i in SOURCE]], [[NAMES[i] for i in TARGET]])
seen = {
    "score": sum(scores[0].log_probs[: len(TARGET)]) / len(TARGET),
    "greedy": answers(beam_size=1), "beam": answers(beam_size=4, length_penalty=0),
}
print(f"transformers {transformers.__version__}: {mean_of(logits):.4f}, converted: {seen['score']:.4f}")
if transformers.__version__.startswith("4."):
    json.dump(seen, open("seen.json", "w"))
    sys.exit(None if abs(seen["score"] - mean_of(logits)) < 1e-3 else "changed: wrong under 4.57.6")
before = json.load(open("seen.json"))
greedy, beam = (sum(map(list.__eq__, seen[k], before[k])) for k in ("greedy", "beam"))
print(f"equal answers of both conversions: greedy {greedy} of 20, beam of 4: {beam} of 20")
if abs(seen["score"] - mean_of(logits / 8)) > 1e-3 or greedy != 20 or beam == 20:
    sys.exit("changed: a conversion under 5.23.0 no longer divides the logits by sqrt(d_model)")
EOF
python3 -m venv venv
install torch==2.13.0 ctranslate2==4.8.5 transformers==4.57.6
venv/bin/python stage.py
install transformers==5.23.0
venv/bin/python stage.py

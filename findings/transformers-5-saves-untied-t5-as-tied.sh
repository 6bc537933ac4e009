#!/usr/bin/env bash
# An untied T5 (Flan-T5, T5 v1.1) saved by transformers 5 loses its output layer in transformers 4.
#
# Versions: transformers 5.23.0 and 4.57.6, torch 2.13.0 (CPU), Python 3.11.
# Expected: loading and saving changes nothing, and `T5Config(tie_word_embeddings=False)` makes
#   a model with a separate output layer. Both hold in transformers 4.
# Actual: T5Config of transformers 5 keeps the flag as `scale_decoder_outputs` and sets
#   tie_word_embeddings to true, always. `save_pretrained` writes that. transformers 5 reads its own
#   files correctly, because it does not tie two weights that differ. transformers 4 obeys the
#   config: without a warning it replaces lm_head by the embeddings, and scales.
#   A new model made by transformers 5 from an untied config is tied (but not scaled).
# Output (random model; mean log-probability of the same six tokens):
#   made by 4.57.6, read by 4.57.6 and 5.23.0        -12.7869
#   saved by 5.23.0 (flag: true) and read by 5.23.0  -12.7869
#   new in 5.23.0 from the untied config             lm_head is shared: True
#   saved by 5.23.0 and read by 4.57.6                -5.6169, lm_head is shared: True
#   the same with tie_word_embeddings back to false  -12.7869
# Consequence: a fine-tuned Flan-T5 saved under transformers 5 answers nonsense under transformers 4.
#   Pre-training from an untied config under transformers 5 trains a tied model.
# Workaround: after save_pretrained, write "tie_word_embeddings": false into config.json where
#   scale_decoder_outputs is false. For a new model, give lm_head a separate parameter.
#
# Exit 0: as described. 1: the behaviour has changed. 2: the packages could not be installed.
set -euo pipefail

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1

install() {
    venv/bin/pip install --quiet "$@" || { echo "the pinned packages could not be installed" >&2; exit 2; }
}

cat > stage.py <<'EOF'
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

VERSION = transformers.__version__


def look(model: T5ForConditionalGeneration, name: str) -> float:
    labels = torch.tensor([[4, 7, 12, 8, 6, 1]])
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([[5, 9, 3, 1]]), labels=labels).logits
    mean = logits.log_softmax(-1).gather(-1, labels[..., None]).mean().item()
    is_shared = model.lm_head.weight is model.shared.weight
    print(f"{VERSION}: {name}: {mean:.4f}, lm_head is shared: {is_shared}")
    return mean


def expect(is_so: bool, sentence: str) -> None:
    if not is_so:
        sys.exit(f"changed: {sentence}")


if sys.argv[1] == "make":
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=16, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained("original")
original = look(T5ForConditionalGeneration.from_pretrained("original"), "the original")
if sys.argv[1] == "save":
    T5ForConditionalGeneration.from_pretrained("original").save_pretrained("saved")
    flag = json.loads(Path("saved/config.json").read_text())["tie_word_embeddings"]
    print(f"{VERSION}: config.json after saving: tie_word_embeddings {flag}")
    saved = look(T5ForConditionalGeneration.from_pretrained("saved"), "saved and read again")
    new = T5ForConditionalGeneration(T5Config.from_pretrained("original"))
    look(new, "new from the untied config")
    expect(flag and abs(saved - original) < 1e-4, "5.23.0 does not save true, or reads it otherwise")
    expect(new.lm_head.weight is new.shared.weight, "5.23.0 makes an untied model")
if sys.argv[1] == "read":
    saved = look(T5ForConditionalGeneration.from_pretrained("saved"), "what 5.23.0 saved")
    file = Path("saved/config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": False}))
    mended = look(T5ForConditionalGeneration.from_pretrained("saved"), "the same, flag set back")
    expect(abs(saved - original) > 1, "4.57.6 reads what 5.23.0 saved as it was")
    expect(abs(mended - original) < 1e-4, "the flag alone does not help")
EOF
python3 -m venv venv
install torch==2.13.0 transformers==4.57.6
venv/bin/python stage.py make
install transformers==5.23.0
venv/bin/python stage.py save
install transformers==4.57.6
venv/bin/python stage.py read

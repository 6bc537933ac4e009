"""Writes `adapter/README.md`, which shows how to load the adapter with peft."""

from pathlib import Path

from flant5_train.adapters.record import AdapterRecord
from flant5_train.estimates.checkpoint import embedding_rows
from flant5_train.protocol.model_files import TOKENIZER_DIRECTORY

_README = "README.md"
_TEXT = """# The adapter of this model

The trained weights, in the format of `peft`. The model in the parent directory has them merged and
does not need `peft`. Use that one unless several adapters share one base model in memory.

The adapter has embedding and output rows for tokens that its base model lacks. `peft` does not add
these rows to the base model by itself. Load it like this:

```python
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

adapter = "."  # where this file is
base = AutoModelForSeq2SeqLM.from_pretrained({base!r}, dtype="float32")
base.config.tie_word_embeddings = False  # transformers 5 sets True for every T5
base.resize_token_embeddings({rows}, mean_resizing=False)
model = PeftModel.from_pretrained(base, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(adapter + "/{tokenizer}")
```

Log-probabilities then differ from the merged model's by less than 1e-6 (peft 0.21.2, transformers
5.23). In transformers before 4.56 `dtype` is called `torch_dtype`.

`AutoPeftModelForSeq2SeqLM.from_pretrained` can't load it: the first question raises an IndexError.
If the tokenizer's files are copied next to this one, it ties the output layer to the input
embedding instead, and the answers are nonsense. The same happens if `resize_token_embeddings` is
called before `tie_word_embeddings` is set to False.
"""


def write_readme(directory: Path, *, record: AdapterRecord) -> None:
    """Writes the README. Raises OSError when the disk is full."""
    text = _TEXT.format(
        base=record.base,
        rows=embedding_rows(max(record.num_tokens, record.num_base_tokens)),
        tokenizer=TOKENIZER_DIRECTORY,
    )
    (directory / _README).write_text(text, encoding="utf-8")

"""Two inference engines: our own, and CTranslate2 with a converted model."""

import shutil
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.vocabulary import vocabulary
from flant5_train.data.encoding import Ids
from flant5_train.demo_model import save_random_model
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE
from flant5_train.protocol.inference import StreamEvent
from flant5_train.serving.detokenizer import AnswerDetokenizer, Detokenizer, detokenizer_for
from flant5_train.serving.generation import Arrivals, GeneratedSequence, Sampler, answer
from flant5_train.serving.model_cache import LoadedModel, load

NUM_TOKENS = 64
_END = 1

SIZES = {
    "small": {"d_model": 512, "d_ff": 1024, "num_heads": 6, "num_layers": 8},
    "base": {"d_model": 768, "d_ff": 2048, "num_heads": 12, "num_layers": 12},
}
"""The sizes of Flan-T5."""


def build_model(directory: Path, size: str) -> LoadedModel:
    """Saves a model as the trainer does and returns it. Its random weights never end an answer."""
    draft = directory.with_suffix(".draft")
    draft.mkdir(parents=True)
    shutil.copy(vocabulary(draft) / SENTENCEPIECE_FILE, draft / SENTENCEPIECE_FILE)
    sizes = SIZES[size]
    save_random_model(draft, sizes={**sizes, "d_kv": 64, "num_decoder_layers": sizes["num_layers"]})
    weights = load_file(draft / "model.safetensors")
    weights["lm_head.weight"][_END] = 0  # a logit of 0, below the largest of the others
    save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
    loaded = load(str(draft), device=torch.device("cpu"), max_source_tokens=2048)
    loaded.model.save_pretrained(directory)
    loaded.tokenizer.save_pretrained(str(directory))
    return loaded


class _Heard(Detokenizer):
    """Records the tokens of an answer and the time of its first one."""

    def __init__(self, text: Detokenizer) -> None:
        self._text = text
        self.tokens: list[int] = []
        self.began_at = 0.0

    def feed(self, token: int) -> str:
        self.began_at = self.began_at or time.perf_counter()
        self.tokens.append(token)
        return self._text.feed(token)

    def end(self) -> str:
        return self._text.end()


class OurAnswers:
    """Runs our inference engine as the serving program does."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def give(self, sources: Sequence[Ids]) -> list[list[int]]:
        """Returns the answers of one batch, as tokens."""
        heard = [_Heard(detokenizer_for(self._loaded.tokenizer)) for _ in sources]
        groups = iter([[self._row(*each) for each in zip(sources, heard, strict=True)]])
        self._answer(lambda _: next(groups, []))
        return [each.tokens for each in heard]

    def waits(self, sources: Sequence[Ids], *, every_seconds: float, joins: bool) -> list[float]:
        """Returns the seconds to the first token for requests that arrive at intervals."""
        heard = [_Heard(detokenizer_for(self._loaded.tokenizer)) for _ in sources]
        rows = [self._row(*each) for each in zip(sources, heard, strict=True)]
        began_at = time.perf_counter()
        due = [began_at + number * every_seconds for number in range(len(rows))]

        def arrivals(going: Sequence[GeneratedSequence]) -> Sequence[GeneratedSequence]:
            if not rows or (going and not joins):
                return []
            if not going:
                time.sleep(max(0.0, due[-len(rows)] - time.perf_counter()))
            num_due = sum(at <= time.perf_counter() for at in due) - (len(due) - len(rows))
            new, rows[:] = rows[:num_due], rows[num_due:]
            return new

        self._answer(arrivals)
        return [each.began_at - at for each, at in zip(heard, due, strict=True)]

    def _row(self, source: Ids, heard: _Heard) -> GeneratedSequence:
        return GeneratedSequence(
            id="",
            source=source,
            sampler=Sampler(temperature=0, top_p=1, seed=None),
            text=AnswerDetokenizer(heard, stop=()),
            max_new_tokens=NUM_TOKENS,
        )

    def _answer(self, arrivals: Arrivals) -> None:
        answer(self._loaded.model, arrivals, is_active=lambda _: True, send=_ignore)


def _ignore(piece: StreamEvent) -> None:
    """Discards the piece."""


Give = Callable[[Sequence[Ids]], list[list[int]]]


def converted(directory: Path, tokenizer: Any, *, weights: str) -> Give:
    """Returns CTranslate2 with the model in `directory`, in that weight type, on our threads."""
    target = directory.with_suffix(f".{weights}")
    converters: Any = import_module("ctranslate2.converters")
    converters.TransformersConverter(str(directory)).convert(str(target), quantization=weights)
    translator = import_module("ctranslate2").Translator(
        str(target), compute_type=weights, intra_threads=torch.get_num_threads()
    )

    def give(sources: Sequence[Ids]) -> list[list[int]]:
        pieces = [tokenizer.convert_ids_to_tokens(source.tolist()) for source in sources]
        results = translator.translate_batch(
            pieces, beam_size=1, max_decoding_length=NUM_TOKENS, max_input_length=0
        )
        return [tokenizer.convert_tokens_to_ids(each.hypotheses[0]) for each in results]

    return give

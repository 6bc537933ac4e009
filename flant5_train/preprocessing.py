"""Encodes conversations in memory as pairs of id lists, like FastChat's `preprocess`."""

from collections.abc import Mapping, Sequence

from flant5_train.data.encoding import Lengths, encoder_for
from flant5_train.data.prompt import conversations_of
from flant5_train.encoding import encode_batch
from flant5_train.models.tokenizer import AnyTokenizer


def preprocess(
    sources: Sequence[Sequence[Mapping[str, str]]], tokenizer: AnyTokenizer
) -> dict[str, list[list[int]]]:
    """Returns encoder inputs and decoder targets of every answer, in order.

    Each list ends with EOS unless the answer was cut. `sources` are lists of `{"from", "value"}`;
    `tokenizer.model_max_length` limits each side. No argument is changed. Raises DataError for a
    malformed conversation.

    preprocess([[human "Hi", gpt "Hello!"]], tokenizer)
    -> {"input_ids": [[71, 3582, ..., 1]], "labels": [[8774, 55, 32101, 1]]}
    """
    encoder = encoder_for(tokenizer)
    lengths = Lengths(tokenizer.model_max_length, tokenizer.model_max_length)
    batch = encode_batch(conversations_of(sources), encoder)
    examples = [encoder.cut(batch.tokens, span, lengths) for span in batch.spans]
    return {
        "input_ids": [example.source.tolist() for example in examples],
        "labels": [example.target.tolist() for example in examples],
    }


def _tokenize_fn(strings: Sequence[str], tokenizer: AnyTokenizer) -> list[list[int]]:
    """Returns the ids of each string, without EOS."""
    return [ids.tolist() for ids in encoder_for(tokenizer).encode(strings)]

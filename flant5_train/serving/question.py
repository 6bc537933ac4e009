"""Encoder input of a conversation to answer, made by the functions that make training pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

from flant5_train.data.conversations import parse_conversation
from flant5_train.data.encoding import Ids, Lengths, TextEncoder
from flant5_train.data.errors import Place
from flant5_train.data.prompt import write_script
from flant5_train.encoding import encode_batch
from flant5_train.protocol.inference import AskedTurn
from flant5_train.protocol.turns import Conversation, Role, Turn

_SOME_ANSWER = Turn(Role.GPT, "-")
"""Placeholder for the answer: without it the last turn would not become a question."""


class QuestionTooLongError(Exception):
    """The system message and the last turn exceed the model's limit, even without older turns."""


@dataclass(frozen=True, slots=True)
class Source:
    """Encoder input [S], and the number of tokens dropped from the conversation."""

    ids: Ids
    num_left_out: int


def conversation_of(turns: Sequence[AskedTurn]) -> Conversation:
    """Returns the conversation. Raises DataError if the turns are invalid."""
    messages = [turn.model_dump() for turn in turns]
    return parse_conversation({"messages": messages}, place=Place("request", 1))


def source_of(conversation: Conversation, encoder: TextEncoder, *, max_tokens: int) -> Source:
    """Returns the source that the next answer would have as a training pair.

    If the history is too long, its oldest turns are dropped, but never the header. Raises
    QuestionTooLongError if the header and the last turn alone are too long.
    """
    whole = Conversation((*conversation.turns, _SOME_ANSWER))
    encoded = encode_batch([whole], encoder)
    span = encoded.spans[-1]
    source = encoder.cut(encoded.tokens, span, Lengths(max_tokens, 1)).source
    # The length without any limit.
    num_tokens = len(encoder.cut(encoded.tokens, span, Lengths(len(encoded.tokens) + 2, 1)).source)
    if num_tokens > len(source):
        _refuse_cut_question(whole, encoder, max_tokens=max_tokens)
    return Source(source, num_tokens - len(source))


def _refuse_cut_question(whole: Conversation, encoder: TextEncoder, *, max_tokens: int) -> None:
    segments = write_script(whole).segments
    header, last = encoder.encode([segments[0].text, segments[-2].text])
    needed = len(header) + len(last) + 2
    if needed > max_tokens:
        raise QuestionTooLongError(
            f"the system message and the last message have {needed} tokens; the model reads at "
            f"most {max_tokens}"
        )

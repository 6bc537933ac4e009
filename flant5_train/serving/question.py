"""Conversations that wait for an answer as encoder input, by the functions that make pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

from flant5_train.conversations import parse_conversation
from flant5_train.encoder import Ids, Lengths, TextEncoder
from flant5_train.encoding import encode_batch
from flant5_train.place import Place
from flant5_train.prompt import write_script
from flant5_train.serving.messages import AskedTurn
from flant5_train.turns import Conversation, Role, Turn

_SOME_ANSWER = Turn(Role.GPT, "-")
"""Stands where the answer will be: a question is what comes before one."""


class QuestionTooLongError(Exception):
    """What has to be read does not fit, even without older turns."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the encoder reads, [S], and how much of the conversation that leaves out."""

    ids: Ids
    num_left_out: int


def conversation_of(turns: Sequence[AskedTurn]) -> Conversation:
    """Raises DataError for turns that make no conversation."""
    messages = [turn.model_dump() for turn in turns]
    return parse_conversation({"messages": messages}, place=Place("request", 1))


def source_of(conversation: Conversation, encoder: TextEncoder, *, max_tokens: int) -> Source:
    """The source of the pair that the next answer would make in training.

    Too long a history loses its oldest turns, never the header. Raises QuestionTooLongError when
    the header and the last turn alone are too long.
    """
    whole = Conversation((*conversation.turns, _SOME_ANSWER))
    encoded = encode_batch([whole], encoder)
    span = encoded.spans[-1]
    source = encoder.cut(encoded.tokens, span, Lengths(max_tokens, 1)).source
    # The longest that any limit would leave.
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
            f"the system text and the last message have {needed} tokens; the model reads "
            f"{max_tokens}"
        )

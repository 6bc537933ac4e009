"""Prompt format of training and generation, the only place where conversations become text.

    header                       A chat between ... questions.\\n\\n
    human turn, answered         ### Human: {text}\\n### Assistant:␠
    gpt turn                     {text}\\n

Based on FastChat's train_flant5, with the system line of its `one_shot` template. FastChat looked
the template up by an unknown name, and wrote the markers into its caller's messages.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flant5_train.config import OnMissingQuestion
from flant5_train.data.conversations import parse_conversation
from flant5_train.data.errors import SourceLocation
from flant5_train.data.record_reader import ANSWER_WITHOUT_QUESTION
from flant5_train.protocol.turns import Conversation, Role, Turn

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives"
    " helpful, detailed, and polite answers to the human's questions."
)

HEADER_END = "\n\n"
HUMAN = "### Human: "
TURN_END = "\n"
ASSISTANT = "### Assistant: "
ANSWER_END = "\n"
"""End of an answer's turn, removed from displayed answers."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a conversation's text that is tokenized separately."""

    text: str
    is_answer: bool = False
    """True if it is the answer of a pair, with all text before it as the question."""


@dataclass(frozen=True, slots=True)
class RenderedConversation:
    """A conversation as text: its segments in order, the header first."""

    segments: tuple[Segment, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    """Turns that make no pair, by reason."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Encoder input and decoder target as text."""

    question: str
    answer: str


def header_of(conversation: Conversation) -> str:
    """Returns the text before the first turn: the system turn, or the default sentence."""
    first = conversation.turns[0]
    return f"{first.text if first.role is Role.SYSTEM else SYSTEM}{HEADER_END}"


def render_prompt(
    conversation: Conversation, on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN
) -> RenderedConversation:
    """Returns the segments of a conversation, and the counts of left-out turns.

    render_prompt([human "Hi", gpt "Hello!", human "Bye"])
    -> segments "A chat ...\\n\\n", "### Human: Hi\\n### Assistant: ", "Hello!\\n" (answer);
       left out: 1 x "human turn without an answer"
    """
    turns = [turn for turn in conversation.turns if turn.role is not Role.SYSTEM]
    segments = [Segment(header_of(conversation))]
    left_out: Counter[str] = Counter()
    has_question = on_missing_question is OnMissingQuestion.TRAIN
    for index, turn in enumerate(turns):
        has_question = has_question or (turn.role is Role.HUMAN and bool(turn.text.strip()))
        if turn.role is Role.GPT:
            reason = _why_untrained(turn, has_question=has_question)
            left_out.update([reason] if reason else [])
            segments.append(Segment(f"{turn.text}{ANSWER_END}", is_answer=not reason))
        elif index + 1 < len(turns):
            segments.append(Segment(f"{HUMAN}{turn.text}{TURN_END}{ASSISTANT}"))
        else:
            left_out["human turn without an answer"] += 1
    return RenderedConversation(tuple(segments), left_out)


def _why_untrained(answer: Turn, *, has_question: bool) -> str | None:
    if not answer.text.strip():
        return "empty answer"
    if not answer.is_trained:
        return "answer of weight 0"
    return None if has_question else ANSWER_WITHOUT_QUESTION


def _add_speaker_and_signal(
    header: str, source: Sequence[Mapping[str, str]]
) -> tuple[str, list[str]]:
    """Returns the text of a conversation, and of each turn, with markers.

    `source` is a list of `{"from", "value"}` and is not changed.
    """
    (conversation,) = conversations_of([source])
    turns = [segment.text for segment in render_prompt(conversation).segments[1:]]
    return header + "".join(turns), turns


def _form_qa(sources: Iterable[Sequence[Mapping[str, str]]]) -> list[Pair]:
    """Returns the text pairs of conversations, in order.

    _form_qa([[human "Hi", gpt "Hello!", human "Bye", gpt "See you"]])
    -> [Pair(question="...### Human: Hi\\n### Assistant: ", answer="Hello!\\n"), Pair(...)]
    """
    pairs = []
    for conversation in conversations_of(sources):
        before = ""
        for segment in render_prompt(conversation).segments:
            if segment.is_answer:
                pairs.append(Pair(before, segment.text))
            before += segment.text
    return pairs


def conversations_of(sources: Iterable[Sequence[Mapping[str, str]]]) -> list[Conversation]:
    """Returns conversations from lists of `{"from", "value"}`. Raises DataError as for a file."""
    return [
        parse_conversation({"conversations": [*source]}, location=SourceLocation("sources", number))
        for number, source in enumerate(sources, start=1)
    ]

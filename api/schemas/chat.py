"""Schemas of chat completion requests."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from flant5_train.protocol.inference import AskedTurn, ChatPrompt
from flant5_train.protocol.turns import ROLES, Role, text_of

_MAX_STOPS = 4
_MAX_SHOWN = 60


def _only(*neutral: JsonValue) -> AfterValidator:
    """Returns a validator for an unsupported parameter. Only its neutral values pass."""

    def check(value: JsonValue) -> JsonValue:
        if value is None or value in neutral:
            return value
        expected = " or ".join([*map(repr, neutral), "nothing"])
        found = ascii(value)
        found = found if len(found) <= _MAX_SHOWN else f"{found[:_MAX_SHOWN]}..."
        raise ValueError(f"found {found}, which is not supported; expected {expected}")

    return AfterValidator(check)


def _text_of(content: Any) -> Any:
    """Joins text parts into one text. pydantic rejects everything else."""
    return text_of(content) if isinstance(content, list) else content


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"found half of a surrogate pair at character {error.start}; expected whole characters"
        ) from error
    return text


def _in_order(messages: tuple["ChatMessage", ...]) -> tuple["ChatMessage", ...]:
    """Checks the order of the roles. Consecutive messages of one role are allowed: the serving
    process joins them (`flant5_train.protocol.turns.joined`)."""
    if not messages:
        # Not `min_length`: it counts only valid messages, and adds an error to each invalid one.
        raise ValueError("found no message; expected at least one, the last with the role 'user'")
    is_begun = False
    for number, message in enumerate(messages):
        is_system = ROLES[message.role] is Role.SYSTEM
        if is_system and is_begun:
            raise ValueError(
                f"messages[{number}] has the role {message.role!r}; expected it before all others"
            )
        is_begun = is_begun or not is_system
    last = messages[-1].role
    if last != "user":
        raise ValueError(f"the last message has the role {last!r}; expected 'user'")
    return messages


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


_UNSUPPORTED = Field(description="Not supported: rejected unless it has no effect.")
Unsupported = Annotated[JsonValue, _only(), _UNSUPPORTED]
Ignored = Annotated[JsonValue, Field(description="Accepted, but has no effect.")]
Text = Annotated[str, AfterValidator(_whole)]
Content = Annotated[
    Text,
    BeforeValidator(_text_of),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}),
]
StopText = Annotated[Text, Field(min_length=1, max_length=256)]
Stops = Annotated[tuple[StopText, ...], Field(max_length=_MAX_STOPS), BeforeValidator(_as_list)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ChatMessage(_Sent):
    """One message of a conversation. An earlier answer may be sent back unchanged."""

    role: Literal["system", "developer", "user", "assistant"]
    """`developer` is an alias of `system`. The system message replaces the first sentence of the
    prompt."""
    content: Content
    """A text, or a list of parts like `{"type": "text", "text": "..."}`."""
    name: Ignored = None
    refusal: Unsupported = None
    audio: Unsupported = None
    function_call: Unsupported = None
    tool_calls: Annotated[JsonValue, _only([]), _UNSUPPORTED] = None
    annotations: Annotated[JsonValue, _only([]), _UNSUPPORTED] = None


class StreamOptions(_Sent):
    """Options of a stream."""

    include_usage: bool | None = None
    """Add a last chunk with the token counts."""
    include_obfuscation: Ignored = None


class CreateChatCompletion(_Sent):
    """A conversation to continue with an answer."""

    model: Text
    """A fine-tuned model, a checkpoint, or a base model of this service."""
    messages: Annotated[
        tuple[ChatMessage, ...],
        AfterValidator(_in_order),
        Field(json_schema_extra={"minItems": 1}),
    ]
    """System messages come first, then user and assistant messages in turn. The last message is the
    user's. Consecutive messages of one role are joined by an empty line, as in conversation
    files."""
    stream: bool | None = None
    """Send the answer as server-sent events, token by token."""
    stream_options: StreamOptions | None = None
    """Options of a stream."""
    max_completion_tokens: int | None = Field(None, ge=1)
    """Maximum tokens of the answer. Default: the training limit."""
    max_tokens: int | None = Field(None, ge=1)
    """Former name of `max_completion_tokens`."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature. The default, 0, always takes the likeliest token."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Sample from the smallest set of likeliest tokens with at least this total probability."""
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    """The same seed gives the same answer."""
    stop: Stops | None = None
    """Up to 4 texts. The answer ends before the first occurrence of any of them."""

    user: Ignored = None
    safety_identifier: Ignored = None
    store: Ignored = None
    metadata: Ignored = None
    service_tier: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    parallel_tool_calls: Ignored = None

    n: Annotated[JsonValue, _only(1), _UNSUPPORTED] = None
    frequency_penalty: Annotated[JsonValue, _only(0), _UNSUPPORTED] = None
    presence_penalty: Annotated[JsonValue, _only(0), _UNSUPPORTED] = None
    logit_bias: Annotated[JsonValue, _only({}), _UNSUPPORTED] = None
    logprobs: Annotated[JsonValue, _only(False), _UNSUPPORTED] = None
    top_logprobs: Annotated[JsonValue, _only(0), _UNSUPPORTED] = None
    response_format: Annotated[JsonValue, _only({"type": "text"}), _UNSUPPORTED] = None
    modalities: Annotated[JsonValue, _only(["text"]), _UNSUPPORTED] = None
    tools: Annotated[JsonValue, _only([]), _UNSUPPORTED] = None
    tool_choice: Annotated[JsonValue, _only("none"), _UNSUPPORTED] = None
    functions: Annotated[JsonValue, _only([]), _UNSUPPORTED] = None
    function_call: Annotated[JsonValue, _only("none"), _UNSUPPORTED] = None
    audio: Unsupported = None
    moderation: Unsupported = None
    prediction: Unsupported = None
    reasoning_effort: Annotated[JsonValue, _only("none"), _UNSUPPORTED] = None
    verbosity: Unsupported = None
    web_search_options: Unsupported = None

    @field_validator("max_tokens")
    @classmethod
    def _says_the_same(cls, max_tokens: int | None, given: ValidationInfo) -> int | None:
        other = given.data.get("max_completion_tokens")
        if None not in (max_tokens, other) and max_tokens != other:
            raise ValueError(f"found {max_tokens}, but max_completion_tokens is {other}")
        return max_tokens

    @property
    def shows_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def question(self) -> ChatPrompt:
        """Returns the request to the serving process."""
        return ChatPrompt(
            model=self.model,
            turns=_turns(self.messages),
            max_new_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            stop=self.stop or (),
        )


def _turns(messages: Sequence[ChatMessage]) -> tuple[AskedTurn, ...]:
    return tuple(AskedTurn(role=message.role, content=message.content) for message in messages)

"""What the SDK raises, as `pytest.raises` would catch it: pytest is not in these environments."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai


class Refusal:
    """What was raised; there after the block."""

    error: openai.APIStatusError


@contextmanager
def refused(kind: type[openai.APIStatusError], *, says: str = "", code: str) -> Iterator[Refusal]:
    """The block raises exactly this, readable and with all that the SDK takes from an answer."""
    refusal = Refusal()
    try:
        yield refusal
    except openai.APIStatusError as raised:
        refusal.error = raised
    else:
        raise AssertionError(f"expected {kind.__name__}; nothing was refused")
    error = refusal.error
    found = f"{type(error).__name__} {error.status_code}, code {error.code}: {error}"
    body = error.body
    assert isinstance(body, dict), found
    assert type(error) is kind, found
    assert says in str(error), found
    assert error.code == code, found
    assert error.type, found
    assert error.request_id, found
    assert {"message", "type", "param", "code"} <= set(body), found
    assert body["message"] in str(error), found

"""Sortable ids: a prefix, 13 digits that grow with time, 13 random ones.

file-1htq6tsrx746sdqtzynznj5vsg
"""

import hashlib
import re
import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_NUM_DIGITS = 13


class AgedId:
    """The ids of one type of object.

    >>> upload_ids = AgedId("upload_")
    >>> first, second = upload_ids.new(), upload_ids.new()
    >>> first < second, upload_ids.matches(first), upload_ids.matches("upload_1")
    (True, True, False)
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pattern = re.compile(rf"{re.escape(prefix)}[{_DIGITS}]{{{2 * _NUM_DIGITS}}}")

    def matches(self, text: str) -> bool:
        """Returns True for a well-formed id, which is safe as a file name."""
        return self._pattern.fullmatch(text) is not None

    def new(self) -> str:
        noise = (secrets.choice(_DIGITS) for _ in range(_NUM_DIGITS))
        return self._prefix + _written(time.time_ns()) + "".join(noise)

    def of(self, name: str, *, at_seconds: float) -> str:
        """Returns the id derived from a name and an instant of millisecond resolution."""
        digest = hashlib.sha256(name.encode()).digest()
        noise = _written(int.from_bytes(digest[:9], "big"))
        return self._prefix + _written(round(at_seconds * 1000) * 10**6) + noise


def _written(number: int) -> str:
    """Returns the last 13 digits of a number."""
    digits = []
    for _ in range(_NUM_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))

"""Ids that sort by age: a prefix, 13 digits that grow with time, 13 random ones.

file-1htq6tsrx746sdqtzynznj5vsg
"""

import re
import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_NUM_DIGITS = 13


class AgedId:
    """The ids of one kind of thing.

    >>> upload_ids = AgedId("upload_")
    >>> first, second = upload_ids.new(), upload_ids.new()
    >>> first < second, upload_ids.matches(first), upload_ids.matches("upload_1")
    (True, True, False)
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pattern = re.compile(rf"{re.escape(prefix)}[{_DIGITS}]{{{2 * _NUM_DIGITS}}}")

    def matches(self, text: str) -> bool:
        """Whether it could be such an id: it may name a file then, whoever sent it."""
        return self._pattern.fullmatch(text) is not None

    def new(self) -> str:
        age = time.time_ns()
        digits = []
        for _ in range(_NUM_DIGITS):
            age, digit = divmod(age, len(_DIGITS))
            digits.append(_DIGITS[digit])
        noise = (secrets.choice(_DIGITS) for _ in range(_NUM_DIGITS))
        return self._prefix + "".join(reversed(digits)) + "".join(noise)

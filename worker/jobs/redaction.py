"""Redaction of secrets in texts for logs, events and callers.

No imports beyond the standard library, because the supervisor needs this module.
"""

import re
from typing import TypeVar

Value = TypeVar("Value")

HIDDEN = "[hidden]"

_SECRETS = re.compile(
    r"""
      (?P<login>://[^\s/@:]*:)[^\s/@]+(?=@)  # a login in a URL, however short its password is
    | (?P<kept>
          (?:authorization|proxy-authorization|x-api-key|api[_-]key|password|passwd
          |client[_-]secret|(?:access|auth|hub|hf|api|refresh)[_-]token)
          ["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?
        | \bbearer\s+
        | ://[^\s/@:]*:                     # redis://user:PASSWORD@host
      )
      (?P<secret>[^\s"',;&@{}()<>\[\]]{6,})(?P<at>@?)
    | \b(?:f5-|sk-|hf_|ghp_|xox[bp]-|AKIA)[\w-]{8,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Returns the text without API keys, tokens and passwords.

    >>> redacted("GET https://hub.test with hf_abcdefghijklmnop")
    'GET https://hub.test with [hidden]'
    >>> redacted("redis://:hunter2hunter2@redis:6379/0, Authorization: Bearer abcdef1234")
    'redis://:[hidden]@redis:6379/0, Authorization: Bearer [hidden]'
    >>> redacted("http://jane:pw@proxy:3128 and http://proxy:3128/path")
    'http://jane:[hidden]@proxy:3128 and http://proxy:3128/path'
    """
    return _SECRETS.sub(_hide, text)


def redacted_values(value: Value) -> Value:
    """Returns a JSON value with all its texts redacted; names stay.

    >>> redacted_values({"note": ["use hf_abcdefghijklmnop", 1]})
    {'note': ['use [hidden]', 1]}
    """
    changed: object = value
    if isinstance(value, str):
        changed = redacted(value)
    elif isinstance(value, dict):
        changed = {name: redacted_values(each) for name, each in value.items()}
    elif isinstance(value, list | tuple):
        changed = [redacted_values(each) for each in value]
    return changed  # type: ignore[return-value]


def _hide(found: re.Match[str]) -> str:
    if found["login"] is not None:
        return f"{found['login']}{HIDDEN}"
    if found["kept"] is None:
        return HIDDEN
    if found["kept"].startswith("://") and not found["at"]:
        return found[0]  # a port, not a password
    return f"{found['kept']}{HIDDEN}{found['at']}"

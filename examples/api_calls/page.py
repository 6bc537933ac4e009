"""Formatting of calls and responses in docs/api.md."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.api_calls.call import Answer, Call

BEGIN = "<!-- made by `make api-docs`: from here -->"
END = "<!-- made by `make api-docs`: to here -->"
_WIDTH = 100
_LONG = 600
"""Characters from which a repeated value is shortened."""


def document_of(path: Path, sections: Sequence[tuple[str, str]]) -> str:
    """Returns the text of `path` with the sections (title, text) between its marks.

    Raises ValueError if the marks are missing.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: expected the marks {BEGIN!r} and {END!r}")
    body = "\n\n".join(f"### {title}\n\n{text}" for title, text in sections)
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"


class Page:
    """Formats calls. Responses are real, but lines are wrapped, and a long value that was already
    shown is cut to `...`."""

    def __init__(self, replaced: Mapping[str, str]) -> None:
        """`replaced` maps names of this machine to those in the document."""
        self._replaced = replaced
        self._shown: set[str] = set()

    def section(self, made: Sequence[tuple[Call, Answer]]) -> str:
        return "\n\n".join(self._one(call, answer) for call, answer in made)

    def _one(self, call: Call, answer: Answer) -> str:
        says = f"{call.says}\n\n" if call.says else ""
        text = answer.text.rstrip() if answer.document == answer.text else self._json(answer)
        block = f"`{call.operation}`\n\n{says}```console\n$ {answer.command}\n{text}\n```"
        for name, other in self._replaced.items():
            # Replaces whole names only: a short host name can occur inside an id.
            block = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", other, block)
        return block

    def _json(self, answer: Answer) -> str:
        return "\n".join(self._lines(answer.document, prefix="", indent=""))

    def _lines(self, value: Any, *, prefix: str, indent: str) -> Iterator[str]:
        text = prefix + json.dumps(value, ensure_ascii=False)
        if len(indent + text) <= _WIDTH or not isinstance(value, dict | list) or not value:
            yield indent + text
            return
        opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
        if prefix and len(text) > _LONG:
            if text in self._shown:
                yield f"{indent}{prefix}{opening}...{closing}"
                return
            self._shown.add(text)
        yield f"{indent}{prefix}{opening}"
        items = value.items() if isinstance(value, dict) else ((None, each) for each in value)
        *first, last = [self._item(key, each, indent + "  ") for key, each in items]
        for lines in first:
            yield ",\n".join(["\n".join(lines), ""]).rstrip("\n")
        yield "\n".join(last)
        yield f"{indent}{closing}"

    def _item(self, key: str | None, value: Any, indent: str) -> list[str]:
        prefix = "" if key is None else f"{json.dumps(key)}: "
        return list(self._lines(value, prefix=prefix, indent=indent))

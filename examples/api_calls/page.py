"""How calls and answers look in docs/api.md."""

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
"""Characters of a value that is written out once and not again."""


def document_of(path: Path, sections: Sequence[tuple[str, str]]) -> str:
    """The text of `path` with these sections, of a title and a text each, between the marks.

    Raises ValueError when the marks are not there.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: expected the marks {BEGIN!r} and {END!r}")
    body = "\n\n".join(f"### {title}\n\n{text}" for title, text in sections)
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"


class Page:
    """Writes calls. Answers are real; lines are broken, and a long value that was shown before is
    cut to `...`."""

    def __init__(self, replaced: Mapping[str, str]) -> None:
        """`replaced`: names of this machine, and what is written in their place."""
        self._replaced = replaced
        self._shown: set[str] = set()

    def section(self, made: Sequence[tuple[Call, Answer]]) -> str:
        return "\n\n".join(self._one(call, answer) for call, answer in made)

    def _one(self, call: Call, answer: Answer) -> str:
        says = f"{call.says}\n\n" if call.says else ""
        text = answer.text.rstrip() if answer.document == answer.text else self._json(answer)
        block = f"`{call.operation}`\n\n{says}```console\n$ {answer.command}\n{text}\n```"
        for name, other in self._replaced.items():
            # A whole name: a short host name can occur inside an id.
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

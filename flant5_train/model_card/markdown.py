"""Markdown whose parts may come from anybody: what they hold stays text."""

import html
import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$])")


def escaped(text: object) -> str:
    """One line that shows as the text, whatever it holds.

    >>> escaped("<b>*x*|y")
    '&lt;b&gt;\\\\*x\\\\*\\\\|y'
    """
    line = " ".join(str(text).split())
    visible = "".join(each if each.isprintable() else "\ufffd" for each in line)
    return html.escape(_SPECIAL.sub(r"\\\1", visible), quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; every cell is escaped."""
    lines = [_row(header), _row(["---"] * len(header), is_text=False)]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[object], *, is_text: bool = True) -> str:
    return f"| {' | '.join(escaped(cell) if is_text else str(cell) for cell in cells)} |"

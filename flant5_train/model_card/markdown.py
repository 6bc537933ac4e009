"""Escaping and tables for Markdown with untrusted parts."""

import html
import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(
    r"[\\`*\[\]#!|~@$]"  # emphasis, code, links, images, cells, mentions, formulas
    r"|(?<!\w)_|_(?!\w)"  # emphasis, but not inside a word
    r"|:(?=//)|(?<=www)\."  # addresses, which GitHub and the hub turn into links
)


def escaped(text: object) -> str:
    """Escapes text for use inside a line, not at its beginning: it renders literally.

    >>> escaped("<b>*x*|y")
    '&lt;b&gt;\\\\*x\\\\*\\\\|y'
    """
    line = " ".join(str(text).split())
    visible = "".join(each if each.isprintable() else "\ufffd" for each in line)
    return html.escape(_SPECIAL.sub(r"\\\g<0>", visible), quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table with every cell escaped."""
    lines = [_row(header), _row(["---"] * len(header), is_text=False)]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[object], *, is_text: bool = True) -> str:
    return f"| {' | '.join(escaped(cell) if is_text else str(cell) for cell in cells)} |"

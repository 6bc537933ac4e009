"""Comparison of two documents by their calls and the fields of the responses."""

import re
from collections.abc import Iterator

_BLOCK = re.compile(
    r"`(?P<operation>[A-Z]+ /[^`]*)`\n\n(?:[^`]*\n\n)?```console\n(?P<body>.*?)\n```", re.S
)
_FIELD = re.compile(r'"([A-Za-z_]\w*)": ')


def differences(*, shown: str, made: str) -> list[str]:
    """Returns one line per call that only one document has or whose fields differ."""
    first, second = dict(_blocks(shown)), dict(_blocks(made))
    lines = [f"{key}: not in the document" for key in second.keys() - first.keys()]
    lines += [f"{key}: in the document, and not called" for key in first.keys() - second.keys()]
    for key in first.keys() & second.keys():
        if gone := first[key] - second[key]:
            lines.append(f"{key}: no longer answered: {', '.join(sorted(gone))}")
        if new := second[key] - first[key]:
            lines.append(f"{key}: not shown: {', '.join(sorted(new))}")
    return sorted(lines)


def operations(document: str) -> set[str]:
    """Returns the operations in a document, as in `POST /v1/files`."""
    return {match["operation"] for match in _BLOCK.finditer(document)}


def _blocks(document: str) -> Iterator[tuple[str, frozenset[str]]]:
    counts: dict[str, int] = {}
    for match in _BLOCK.finditer(document):
        operation = match["operation"]
        counts[operation] = counts.get(operation, 0) + 1
        yield f"{operation} ({counts[operation]})", frozenset(_FIELD.findall(match["body"]))

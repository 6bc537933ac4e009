"""Formats numbers, sizes, durations and times for people."""

from datetime import UTC, datetime

_BYTES = ("bytes", "kB", "MB", "GB", "TB")


def duration(seconds: float) -> str:
    """
    >>> [duration(seconds) for seconds in (4.2, 75, 3700, 190_000)]
    ['4 s', '1 min 15 s', '1 h 1 min', '2 d 4 h']
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def size(num_bytes: float) -> str:
    """
    >>> [size(number) for number in (12, 123_456, 7.5e9)]
    ['12 bytes', '123 kB', '7.5 GB']
    """
    unit = 0
    while num_bytes >= 1000 and unit < len(_BYTES) - 1:
        num_bytes, unit = num_bytes / 1000, unit + 1
    return (
        f"{num_bytes:.0f} {_BYTES[unit]}"
        if num_bytes >= 100 or unit == 0
        else (f"{num_bytes:.1f} {_BYTES[unit]}")
    )


def number(value: float) -> str:
    """
    >>> [number(value) for value in (3.14159, 0.00002, 12345, 42)]
    ['3.142', '2e-05', '12,345', '42']
    """
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def instant(unix_seconds: float | None) -> str:
    """Formats a time in UTC, the same for all users; '' for None."""
    if unix_seconds is None or unix_seconds <= 0:
        return ""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(unix_seconds: float, *, now: float) -> str:
    """
    >>> ago(1000.0, now=1075.0)
    '1 min ago'
    """
    passed = max(0.0, now - unix_seconds)
    if passed < 60:
        return "just now"
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if passed >= length:
            return f"{int(passed // length)} {unit} ago"
    raise AssertionError("every time of a minute or more has a unit")

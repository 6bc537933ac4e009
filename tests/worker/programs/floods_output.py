"""Writes 20,000 numbered lines to each stream."""

import sys

for number in range(20_000):
    print(f"out {number}")
    print(f"err {number}", file=sys.stderr)

"""Says something on both streams and ends with exit code 1."""

import sys

print("before the end")
print("what went wrong", file=sys.stderr)
sys.exit(1)

"""A trainer that dies without leaving a reason but its last words."""

import sys

print("loading")
print("ImportError: libcudart.so.12: cannot open shared object file", file=sys.stderr)
sys.exit(1)

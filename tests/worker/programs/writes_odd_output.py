"""Writes what terminals understand and log files should not hold."""

import sys

out = sys.stdout.buffer
out.write(b"\r 10%|#\r 20%|##\r 100%|###\n")
out.write(b"\x1b[31mred\x1b[0m\x07 bell\x00\n")
out.write("caf\u00e9 \u2014 \u4f60\n".encode())
out.write(b"bad \xff byte\n")
out.write(b"tab\there\n\n")
out.write(b"x" * 20_000 + b"\n")
out.write(b"no end")

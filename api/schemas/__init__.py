"""Shapes that exist only in HTTP: what callers send and what they get."""

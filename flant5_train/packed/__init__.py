"""Pairs packed end to end into one row, without padding between them, and attention that keeps
them apart.

T5 knows no absolute positions: its bias depends on the distance of key and query only, so a pair
computes the same wherever it stands in the row. What it must not do is look at its neighbours.
"""

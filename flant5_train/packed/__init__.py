"""Sequence packing: pairs concatenated in one row without padding, and attention that keeps them
apart.

T5 has no absolute positions: its bias depends only on the distance of key and query. A pair's
results are therefore the same anywhere in the row, provided it does not attend to its neighbours.
"""

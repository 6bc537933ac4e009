"""Dry run of a job: estimates its pairs, batches, steps, memory and disk before it starts.

It runs in a separate process, without torch. A training run plans and counts with the same
functions.
"""

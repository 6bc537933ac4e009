"""What a job would be, told before it runs: its pairs, batches, steps, and what they take.

Made in a process of its own, without torch; a run plans and counts by the same functions.
"""

"""Answers that the model gives by itself during an evaluation, and how good they are."""

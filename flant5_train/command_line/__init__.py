"""Rules for every argument of the trainer: its effect, or the reason why it is refused."""

"""Callbacks of the trainer, one module per purpose.

`run_callbacks.callbacks_of` returns them in the order of their calls. `reporting` writes the
progress, `guards` stops hopeless runs, and `early_stopping` saves the best checkpoint.

May import `flant5_train.training.checkpoints`, `flant5_train.training.stopping`,
`flant5_train.training.telemetry`, `flant5_train.estimates`, `flant5_train.arguments`,
`flant5_train.disk`, `flant5_train.protocol` and `flant5_train.config`.
"""

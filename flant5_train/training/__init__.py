"""One training run, from its arguments to the final model.

`run.train` is the whole run, `trainer.ConversationTrainer` trains on planned batches, and
`evaluation.validate` measures the model. `callbacks` holds the callbacks of the trainer.

May import every other package of `flant5_train`, except the programs `file_report`, `forecast`
and `serving`.
"""

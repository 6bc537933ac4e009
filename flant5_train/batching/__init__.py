"""Batch plan of a run: micro-batches of similar work for all processes, in every epoch.

`plan.RunPlan` is the plan, `strategies` forms padded, bucketed and packed micro-batches, and
`loader.TrainingBatches` loads the plan's batches in a run.

May import `flant5_train.data`, `flant5_train.models.loss`, `flant5_train.arguments`,
`flant5_train.protocol` and `flant5_train.config`. Only `loader` imports torch: forecasts make the
same plan without it.
"""

"""Path of the data: conversation file -> records -> pairs -> token ids -> data set -> batch.

`reader.read_blocks` reads files of any size, `prompt.render_prompt` is the only place where
conversations become text, and `dataset.SupervisedDataset` serves encoded pairs from `cache`.

May import `flant5_train.models`, `flant5_train.protocol`, `flant5_train.config` and the helpers
`arguments`, `disk` and `process`. It never imports the batching or the training. Only `dataset`
and `collator` import torch.
"""

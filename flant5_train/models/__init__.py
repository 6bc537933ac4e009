"""Flan-T5 models, tokenizers and adapters: loading, forward pass with loss, and export.

`flan_t5.FlanT5` is the trainable model, `loading.load_model` loads a base model,
`tokenizer.load_tokenizer` its tokenizer, and `lora` adds and merges adapters.

May import `flant5_train.data.prompt`, `flant5_train.estimates.checkpoint`, `flant5_train.protocol`
and `flant5_train.config`. It never imports the training.
"""

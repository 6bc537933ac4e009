"""The trainer's own arguments, those of FastChat's train_flant5 among them."""

from flant5_train.command_line.rules import Rules, honoured, result

OWN_TRAINING: Rules = {
    "run_directory": honoured("progress.jsonl and error.json go there; default: output_dir"),
    "model_max_length": result("limit in tokens of each side; max_*_length take its place"),
    "batching": result("how pairs share a forward pass"),
    "warmup_ratio": honoured("warmup_steps as a share; refused beside another warmup_steps"),
    "eval_generation_samples": honoured("validation questions that each evaluation answers"),
    "early_stopping_patience": result("evaluations without a lower loss that end training"),
    "early_stopping_threshold": result("needs early_stopping_patience"),
    "sharding": result("fsdp spreads weights, gradients and optimizer over the processes"),
    "accept_checkpoint": honoured(
        "which checkpoint of a used output_dir a run goes on from: `same` (its record equals this"
        " run), `unrecorded` (also one of another version of flant5: without a record, or with"
        " another encoding or batch plan), `changed` (other settings: the result is then that of"
        " neither setting alone)"
    ),
}

MODEL: Rules = {
    # Compared by what it holds, since a directory may be moved.
    "model_name_or_path": honoured("where training starts from"),
    "models_directory": honoured("where the demo model is kept"),
    "tokenization": result("lossless, or FastChat's nine tokens"),
    "finetuning_type": result("all weights, LoRA or QLoRA"),
    "lora_rank": result("needs finetuning_type lora or qlora"),
    "lora_alpha": result("needs finetuning_type lora or qlora"),
    "lora_dropout": result("needs finetuning_type lora or qlora"),
    "lora_target_modules": result("needs finetuning_type lora or qlora"),
}

DATA: Rules = {
    # Compared by their content.
    "data_path": honoured("conversations to train on"),
    "validation_file": honoured("conversations to evaluate on"),
    "validation_split": result("share held back for evaluation; refused beside validation_file"),
    "on_bad_record": result("fail at a malformed record, or skip and count"),
    "on_missing_question": result("train on answers without a question, or skip and count"),
    "max_source_length": result("encoder limit in tokens"),
    "max_target_length": result("decoder limit in tokens"),
    "cache_directory": honoured("where encoded files are kept"),
}

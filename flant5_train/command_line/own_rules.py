"""Rules for the trainer's own arguments, including those of FastChat's train_flant5."""

from flant5_train.command_line.rules import Rules, honoured, result

OWN_TRAINING: Rules = {
    "run_directory": honoured("directory of progress.jsonl and error.json; default: output_dir"),
    "model_max_length": result("token limit of source and target; max_*_length override it"),
    "batching": result("method of grouping pairs in a forward pass"),
    "warmup_ratio": honoured("warmup_steps as a share; refused together with warmup_steps"),
    "eval_generation_samples": honoured("validation questions answered in each evaluation"),
    "early_stopping_patience": result(
        "evaluations without a lower loss after which training stops"
    ),
    "early_stopping_threshold": result("needs early_stopping_patience"),
    "sharding": result("fsdp shards weights, gradients and optimizer over the processes"),
    "accept_checkpoint": honoured(
        "checkpoints in a used output_dir that may be resumed: `same` (its record equals this run),"
        " `unrecorded` (also one of another version of flant5: without a record, or with another"
        " encoding or batch plan), `changed` (other settings: the result will match neither run)"
    ),
}

MODEL: Rules = {
    # Compared by its content, since a directory may be moved.
    "model_name_or_path": honoured("base model"),
    "models_directory": honoured("directory of the demo model"),
    "tokenization": result("lossless, or FastChat's nine tokens"),
    "finetuning_type": result("all weights, LoRA or QLoRA"),
    "lora_rank": result("needs finetuning_type lora or qlora"),
    "lora_alpha": result("needs finetuning_type lora or qlora"),
    "lora_dropout": result("needs finetuning_type lora or qlora"),
    "lora_target_modules": result("needs finetuning_type lora or qlora"),
}

DATA: Rules = {
    # Compared by their content.
    "data_path": honoured("training conversations"),
    "validation_file": honoured("validation conversations"),
    "validation_split": result("share held back for evaluation; refused with validation_file"),
    "on_bad_record": result("fail at a malformed record, or skip and count"),
    "on_missing_question": result("train on answers without a question, or skip and count"),
    "max_source_length": result("encoder limit in tokens"),
    "max_target_length": result("decoder limit in tokens"),
    "cache_directory": honoured("directory of encoded files"),
}

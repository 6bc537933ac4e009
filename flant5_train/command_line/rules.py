"""Rules of all arguments of the trainer: the effect of each, or its refusal.

They cover the trainer's own arguments, including those of FastChat's train_flant5, and the fields
of `transformers.TrainingArguments` (5.23). `docs/trainer-arguments.md` lists all rules. A test
compares them with the fields of the argument classes. Without it, a new version of transformers
could add one unnoticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule for one argument. The default of its field always passes."""

    note: str
    """The effect, or the reason why all values except the default are refused, and what to use
    instead."""
    is_honoured: bool = True
    values: tuple[str, ...] = ()
    """Values accepted besides the default, as written by the user; empty means any."""
    changes_result: bool = False
    """True if another value gives another model. It must then not resume a checkpoint."""
    is_secret: bool = False


Rules = Mapping[str, Rule]


def honoured(note: str, *values: str) -> Rule:
    return Rule(note, values=values)


def result(note: str, *values: str) -> Rule:
    """Like `honoured`, for an argument that affects the trained weights."""
    return Rule(note, values=values, changes_result=True)


def refused(note: str, *values: str, is_secret: bool = False) -> Rule:
    """Returns the rule of a refused argument. `values` are accepted, since they mean the same as
    the default."""
    return Rule(note, is_honoured=False, values=values, is_secret=is_secret)


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


_STOCK_EVALUATION = (
    "evaluations are exact means over all target tokens, computed by this trainer's own loop, which"
    " does not use it"
)
_HUB = "nothing is uploaded by the trainer; upload the finished directory with `hf upload`"
_TRACKIO = "trackio is not installed; use the curves in run_directory/tensorboard"
_PLANNED = "batches are planned before training; expected `batching`: padded, bucketed or packed"
_OWN_LOADER = "each process reads its own planned batches with a loader that does not use it"

STEPS: Rules = {
    "per_device_train_batch_size": result("pairs per process and forward pass"),
    "gradient_accumulation_steps": result("forward passes per optimizer step"),
    "num_train_epochs": result("epochs; a max_steps above 0 overrides it"),
    "max_steps": result("optimizer steps; -1 uses num_train_epochs"),
    "learning_rate": result("peak learning rate"),
    "lr_scheduler_type": result("learning rate schedule"),
    "lr_scheduler_kwargs": result("passed to the schedule"),
    "warmup_steps": result("steps with a rising learning rate; below 1: a share of all steps"),
    "optim": result("optimizer"),
    "optim_args": result("passed to the optimizer; refused for adamw_torch* and adafactor"),
    "optim_target_modules": refused(
        "GaLore and APOLLO are not installed; use finetuning_type lora"
    ),
    "weight_decay": result("decoupled weight decay"),
    "adam_beta1": result("first-moment decay; refused for optimizers without it"),
    "adam_beta2": result("second-moment decay; refused for optimizers without it"),
    "adam_epsilon": result("AdamW's epsilon; refused for optimizers without it"),
    "max_grad_norm": result("limit of the gradient norm (clipping); 0 turns it off"),
    "average_tokens_across_devices": refused("the loss is always the mean over all processes"),
    "label_smoothing_factor": refused("the loss is plain cross-entropy per token"),
    "neftune_noise_alpha": refused(
        "the noise would have no effect: a T5's encoder and decoder use their own embedding modules"
    ),
    "auto_find_batch_size": refused(
        "batches are planned before training, and the largest runs first; lower"
        " per_device_train_batch_size"
    ),
    "seed": result("data order, dropout, validation split"),
    "data_seed": refused("the data order follows `seed`"),
    "full_determinism": result("torch's deterministic algorithms"),
}

PRECISION: Rules = {
    "bf16": result("computes in bfloat16 under autocast"),
    "fp16": refused("T5 overflows in float16; use bf16 or neither"),
    "bf16_full_eval": refused(_STOCK_EVALUATION),
    "fp16_full_eval": refused(_STOCK_EVALUATION),
    "tf32": result("TensorFloat-32 on GPUs that support it"),
    "activation_checkpointing": honoured("recomputes activations: less memory, same result"),
    "activation_checkpointing_kwargs": honoured("passed on; needs activation_checkpointing"),
    "gradient_checkpointing": honoured("name of activation_checkpointing before 5.23"),
    "gradient_checkpointing_kwargs": honoured(
        "name of activation_checkpointing_kwargs before 5.23"
    ),
    "torch_compile": result("compiles the model's blocks; batching packed on a GPU only"),
    "torch_compile_backend": refused("blocks are compiled by inductor; use torch_compile alone"),
    "torch_compile_mode": refused("blocks are compiled in one mode; use torch_compile alone"),
    "use_liger_kernel": refused("Liger has no kernels for this model; the trainer has its own"),
    "liger_kernel_config": refused("see use_liger_kernel"),
    "use_cache": refused("training does not use a key-value cache"),
    "use_cpu": honoured("trains on the CPU; the default without a GPU"),
    "torch_empty_cache_steps": honoured("steps between two releases of the GPU's cached memory"),
}

LOGS: Rules = {
    "logging_strategy": honoured("not `no`: logs reveal a broken loss", "steps", "epoch"),
    "logging_steps": honoured("steps between two logs; below 1: a share of all steps"),
    "logging_first_step": honoured("logs the first step too"),
    "log_on_each_node": honoured("the library logs on each node"),
    "logging_nan_inf_filter": refused("a NaN or infinite loss stops the run; it is not replaced"),
    "include_num_input_tokens_seen": refused(
        "tokens are always counted, without padding", "False", "no"
    ),
    "log_level": honoured("the library's log level on rank 0"),
    "log_level_replica": honoured("the library's log level on other ranks"),
    "disable_tqdm": honoured("False shows a progress bar"),
    "report_to": honoured("the library's trackers; needs their package"),
    "run_name": honoured("the run's name in a tracker; refused without report_to"),
    "project": refused(_TRACKIO),
    "trackio_space_id": refused(_TRACKIO),
    "trackio_bucket_id": refused(_TRACKIO),
    "trackio_static_space_id": refused(_TRACKIO),
    "debug": refused("the library's debuggers fail on this trainer's batches"),
    "skip_memory_metrics": refused("memory is reported with each step; see gpu_memory_bytes"),
}

EVALUATION: Rules = {
    "eval_strategy": honoured(
        "by default steps with validation pairs, otherwise no",
        "no",
        "steps",
        "epoch",
    ),
    "eval_steps": honoured("steps between two evaluations; default: save_steps"),
    "eval_delay": honoured("steps or epochs before the first evaluation; needs validation pairs"),
    "per_device_eval_batch_size": honoured("pairs per process and forward pass of an evaluation"),
    "eval_on_start": refused("the first evaluation is after eval_steps; use eval_steps 1"),
    "do_eval": honoured("True needs validation pairs, which are always evaluated"),
    "prediction_loss_only": refused(_STOCK_EVALUATION),
    "eval_do_concat_batches": refused(_STOCK_EVALUATION),
    "eval_use_gather_object": refused(_STOCK_EVALUATION),
    "eval_accumulation_steps": refused(_STOCK_EVALUATION),
    "include_for_metrics": refused(_STOCK_EVALUATION),
    "batch_eval_metrics": refused(_STOCK_EVALUATION),
    "label_names": refused(_STOCK_EVALUATION),
    "load_best_model_at_end": result("the final model is the checkpoint with the lowest loss"),
    "metric_for_best_model": refused(
        "the best checkpoint has the lowest validation loss", "loss", "eval_loss"
    ),
    "greater_is_better": refused("the best checkpoint has the lowest loss", "False"),
}

FILES: Rules = {
    "output_dir": honoured("directory of checkpoints and the final model (required)"),
    "save_strategy": honoured("for `best` use load_best_model_at_end", "steps", "epoch", "no"),
    "save_steps": honoured("steps between two checkpoints; below 1: a share of all steps"),
    "save_total_limit": honoured("number of complete checkpoints to keep; the default keeps all"),
    "save_only_model": refused("a checkpoint without its optimizer can't be resumed exactly"),
    "save_on_each_node": refused("one process writes; output_dir is shared by all nodes"),
    "enable_jit_checkpoint": refused("on SIGTERM a run always saves a checkpoint and stops"),
    "resume_from_checkpoint": honoured(
        "a run always resumes the newest complete checkpoint of its output_dir; a missing one or"
        " any other path is refused: to start from its weights, use model_name_or_path"
    ),
    "ignore_data_skip": refused("a resumed run skips the pairs it was already trained on"),
    "restore_callback_states_from_checkpoint": refused("no callback of this trainer has a state"),
    "push_to_hub": refused(_HUB),
    "hub_token": refused(_HUB, is_secret=True),
    "hub_private_repo": refused(_HUB),
    "hub_model_id": refused(_HUB),
    "hub_strategy": refused(_HUB),
    "hub_always_push": refused(_HUB),
    "hub_revision": refused(_HUB),
    "do_train": honoured("this program always trains"),
    "do_predict": refused("this program trains; use `flant5 chat` to query a finished model"),
}

LOADING: Rules = {
    "train_sampling_strategy": refused(_PLANNED),
    "length_column_name": refused(_PLANNED),
    "dataloader_drop_last": refused(_PLANNED),
    "dataloader_num_workers": honoured("processes that prefetch batches"),
    "dataloader_pin_memory": honoured("page-locked memory; on a GPU only"),
    "dataloader_persistent_workers": honoured("keeps the prefetching processes between epochs"),
    "dataloader_prefetch_factor": honoured("batches that each prefetching process reads ahead"),
    "dataloader_multiprocessing_context": refused(_OWN_LOADER),
    "dataloader_in_order": refused(_OWN_LOADER),
    "remove_unused_columns": refused("pairs have no unused columns"),
    "accelerator_config": refused(_OWN_LOADER),
}

PROCESSES: Rules = {
    "ddp_find_unused_parameters": honoured("passed to DistributedDataParallel"),
    "ddp_bucket_cap_mb": honoured("passed to DistributedDataParallel"),
    "ddp_broadcast_buffers": honoured("passed to DistributedDataParallel"),
    "ddp_static_graph": honoured("passed to DistributedDataParallel"),
    "ddp_backend": honoured("backend of the process group"),
    "ddp_timeout": honoured("timeout of a collective operation in seconds"),
    "fsdp": honoured(
        "the same as sharding fsdp, which shards weights, gradients and optimizer",
        "full_shard",
        "full_shard auto_wrap",
        "auto_wrap full_shard",
        "True",
    ),
    "fsdp_config": refused("sharding fsdp shards each T5 block; there is nothing to configure"),
    "deepspeed": refused("DeepSpeed is not installed; use sharding fsdp"),
    "parallelism_config": refused("only data parallelism; use sharding fsdp for large models"),
    "local_rank": honoured("set by torchrun; another number is refused"),
}

HUGGING_FACE: Rules = {
    **STEPS,
    **PRECISION,
    **LOGS,
    **EVALUATION,
    **FILES,
    **LOADING,
    **PROCESSES,
}

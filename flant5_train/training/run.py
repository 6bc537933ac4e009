"""One training run, from arguments to the final model."""

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers.trainer_utils import IntervalStrategy

from flant5_train.arguments import Arguments, TrainingArguments, parse_arguments
from flant5_train.batching.loader import planned_batches, record_of
from flant5_train.check import check_file
from flant5_train.config import DEMO_MODEL
from flant5_train.data.dataset import DataModule, make_supervised_data_module
from flant5_train.demo_model import demo_model
from flant5_train.disk import disk_full_context
from flant5_train.estimates.slow_bfloat16 import slow_bfloat16
from flant5_train.model_card.card import README, RunMetadata, write_card
from flant5_train.model_card.plot import History
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import rows_begun_anew
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.process import rank
from flant5_train.protocol.failure import FailureCode, TrainingError, reserve_failure_space
from flant5_train.protocol.model_files import check_model_directory
from flant5_train.protocol.progress import (
    PROGRESS_FILE,
    DataRead,
    ModelSaved,
    PhaseChange,
    Record,
    Stopped,
    WarningIssued,
)
from flant5_train.resume.identity import default_values, record_of_run
from flant5_train.resume.record import RUN_RECORD, FinishedRun, RunRecord, as_lines
from flant5_train.resume.start import Present, RunStart, start_of
from flant5_train.training.adapter_trainer import check_lora_supported, load_for_training
from flant5_train.training.callbacks.early_stopping import CheckpointSelector, evaluation_interval
from flant5_train.training.callbacks.guards import (
    refuse_unused_validation,
    refuse_without_validation,
    validate_arguments,
)
from flant5_train.training.callbacks.reporting import (
    EventFiles,
    HeartbeatCallback,
    ProgressSink,
    ignore_record,
)
from flant5_train.training.callbacks.run_callbacks import callbacks_of
from flant5_train.training.checkpoints import (
    newest_complete_checkpoint,
    remove_incomplete_checkpoints,
)
from flant5_train.training.progress_log import ProgressLog
from flant5_train.training.run_settings import setting_warnings, settle
from flant5_train.training.stopping import StopRequested, StopSignal
from flant5_train.training.telemetry import memory_planned
from flant5_train.training.trainer import ConversationTrainer

logger = logging.getLogger(__name__)

_KEEP_ALL = 1_000_000


def train(argv: Sequence[str] | None = None) -> None:
    """Runs training for the command line's arguments, from the newest complete checkpoint if any.

    Leaves the final model in `output_dir`, or a checkpoint if SIGTERM arrived. Raises TrainingError
    for errors that the caller can fix.
    """
    stop = StopSignal()
    stop.listen()
    arguments = parse_run(sys.argv[1:] if argv is None else argv)
    directory = arguments.training.record_directory
    if rank() != 0:
        _run(arguments, ignore_record, stop)
        return
    with (
        reserve_failure_space(directory / "error.json"),
        closing(_ProgressWriter(directory)) as report,
    ):
        _run(arguments, report, stop)


class _ProgressWriter:
    """Progress writer of rank 0: `progress.jsonl` and TensorBoard curves.

    Raises TrainingError if the disk is full: such a run could not save a checkpoint either.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with self._writing(PROGRESS_FILE):
            self._log = ProgressLog(directory / PROGRESS_FILE)
        self._event_files = EventFiles(directory / "tensorboard")

    def __call__(self, record: Record, /) -> None:
        with self._writing(PROGRESS_FILE):
            self._log.append(record)
        with self._writing("the curves for TensorBoard"):
            self._event_files.append(record)

    def close(self) -> None:
        self._log.close()
        # Records are written unbuffered; a full disk was reported then.
        with suppress(OSError):
            self._event_files.close()

    def _writing(self, what: str) -> AbstractContextManager[None]:
        return disk_full_context(what, self._directory)


def _run(arguments: Arguments, report: ProgressSink, stop: StopSignal) -> None:
    try:
        report(PhaseChange(phase="preprocessing"))
        _report_warnings(arguments, _warnings_to(arguments.training, report))
        metadata = RunMetadata.of(arguments)
        arguments = _with_demo_model(arguments)
        trainer, start = _build_trainer(arguments, metadata, report, stop)
        if start.finished is not None:
            _report_complete(trainer, start.finished, report)
            return
        _report_changes(start, report)
        metadata = replace(metadata.settled(arguments.training), changes=start.record.changes)
        _train_and_export(trainer, start, metadata, report)
    except StopRequested:
        report(Stopped(step=0, path=None))


def parse_run(argv: Sequence[str]) -> Arguments:
    """Returns the arguments of a run. Raises TrainingError for unusable ones."""
    try:
        arguments = parse_arguments([*argv])
    except (ValueError, OSError) as error:
        raise TrainingError(FailureCode.BAD_CONFIG, f"arguments: {error}") from error
    validate_arguments(arguments.training)
    check_lora_supported(arguments.model)
    return arguments


def _with_demo_model(arguments: Arguments) -> Arguments:
    if arguments.model.model_name_or_path != DEMO_MODEL:
        return arguments
    assert arguments.model.models_directory is not None, "parse_arguments fills it in"
    data_path = Path(arguments.data.data_path)
    check_file(data_path, arguments.data.on_bad_record, arguments.data.on_missing_question)
    directory = Path(arguments.model.models_directory)
    built = demo_model(data_path, directory, builds=rank() == 0)
    return replace(arguments, model=replace(arguments.model, model_name_or_path=str(built)))


def _build_trainer(
    arguments: Arguments, metadata: RunMetadata, report: ProgressSink, stop: StopSignal
) -> tuple[ConversationTrainer, RunStart]:
    training = arguments.training
    name = arguments.model.model_name_or_path
    check_model_directory(name)
    tokenizer = load_tokenizer(
        name,
        tokenization=arguments.model.tokenization,
        model_max_length=training.model_max_length,
    )
    data = make_supervised_data_module(
        tokenizer, arguments.data, builds=rank() == 0, seed=training.seed, report=report
    )
    _report_data(data, report)
    if data["eval_dataset"] is None:
        refuse_without_validation(training)
    else:
        refuse_unused_validation(training)
    batches = planned_batches(data["train_dataset"], data["data_collator"], training)
    report(record_of(batches.plan))
    report(PhaseChange(phase="loading_model"))
    model, trainer_class = load_for_training(arguments, tokenizer)
    warnings_to = _warnings_to(training, report)
    for warning in setting_warnings(arguments, data, batches.plan):
        warnings_to(warning)
    if (chosen := settle(arguments, plan=batches.plan, config=model.config)) is not None:
        report(chosen)
    _warn(rows_begun_anew(name, tokenizer), warnings_to, param="tokenization")
    record = record_of_run(
        arguments, metadata, tokenizer=tokenizer, batch_plan=batches.plan.fingerprint
    )
    start = _start_of(record, training, num_steps=batches.plan.num_steps)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(training.device).total_memory
        plan = batches.plan
        report(memory_planned(arguments, config=model.config, batches=plan, gpu_bytes=memory))
    _set_limits(model, arguments)
    if training.compiles_blocks:
        model.compile_blocks()
    selection = CheckpointSelector.of(training)
    trainer = trainer_class(
        batches=batches,
        record=start.record,
        report=report,
        keep_checkpoints=training.save_total_limit or _KEEP_ALL,
        selection=selection,
        model=model,
        args=_adjusted(training, evaluates=data["eval_dataset"] is not None),
        processing_class=tokenizer,
        callbacks=[
            *callbacks_of(selection, report, stop, num_pairs=len(data["train_dataset"])),
            HeartbeatCallback(training.record_directory / PROGRESS_FILE),
        ],
        **data,
    )
    return trainer, start


def _start_of(record: RunRecord, training: TrainingArguments, *, num_steps: int) -> RunStart:
    assert training.output_dir is not None, "__post_init__ requires it"
    present = Present(
        record=record,
        num_steps=num_steps,
        accepts=training.accept_checkpoint,
        resume_from=training.resume_from_checkpoint,
        defaults=default_values(),
    )
    return start_of(Path(training.output_dir), present)


def _report_complete(
    trainer: ConversationTrainer, finished: FinishedRun, report: ProgressSink
) -> None:
    """Reports the final model again: the earlier report may have been lost."""
    path = str(trainer.args.output_dir)
    if rank() == 0:
        logger.warning(
            "run: already complete, nothing to train (output_dir=%s, step=%d)",
            path,
            finished.step,
        )
    report(ModelSaved(path=path, **finished.model_dump()))


def _report_changes(start: RunStart, report: ProgressSink) -> None:
    """Reports the change of settings at this start; the record contains earlier ones."""
    if rank() == 0 and start.change is not None:
        for line in as_lines((start.change,)):
            logger.warning("resume: %s", line)
            report(WarningIssued(param="output_dir", message=line))


def _set_limits(model: FlanT5, arguments: Arguments) -> None:
    """Sets the trained lengths in the configuration that is saved with the model."""
    longest = arguments.training.model_max_length
    source = arguments.data.max_source_length or longest
    target = arguments.data.max_target_length or longest
    assert model.generation_config is not None, "a T5 generates text"
    model.generation_config.max_length = None
    model.generation_config.max_new_tokens = target
    # T5's positions are unlimited. Converters to other runtimes read a context length from here,
    # and use 512 if it is missing.
    model.config.n_positions = max(source, target)


def _warnings_to(training: TrainingArguments, report: ProgressSink) -> ProgressSink:
    """Returns the report for warnings; a resumed run drops them, because it has issued them."""
    assert training.output_dir is not None, "__post_init__ requires it"
    is_resumed = newest_complete_checkpoint(Path(training.output_dir)) is not None
    return ignore_record if is_resumed else report


def _report_warnings(arguments: Arguments, report: ProgressSink) -> None:
    """Reports costly settings in the records of the run and on standard error."""
    if arguments.training.bf16 and arguments.training.use_cpu:
        _warn(slow_bfloat16(), report, param="bf16")


def _warn(message: str | None, report: ProgressSink, *, param: str) -> None:
    if message is not None and rank() == 0:
        logger.warning("%s", message)
        report(WarningIssued(param=param, message=message))


def _report_data(data: DataModule, report: ProgressSink) -> None:
    report(DataRead(split="train", report=data["train_dataset"].report().as_json()))
    if data["eval_dataset"] is not None:
        report(DataRead(split="validation", report=data["eval_dataset"].report().as_json()))


def _adjusted(training: TrainingArguments, *, evaluates: bool) -> TrainingArguments:
    """Returns the arguments adjusted to the data and the machine."""
    if torch.cuda.is_available():
        # cuDNN attention has no gradient for T5's position bias, and NaN for masks (H100).
        torch.backends.cuda.enable_cudnn_sdp(False)
    else:
        training.dataloader_pin_memory = False
    # `checkpoints.remove_old_checkpoints` removes old checkpoints after the new one is complete.
    # The Trainer would remove them before.
    training.save_total_limit = None
    # `CheckpointSelector`, built earlier, selects the checkpoint.
    training.load_best_model_at_end = False
    if evaluates and training.eval_strategy == IntervalStrategy.NO:
        training.eval_strategy, training.eval_steps = evaluation_interval(training)
    return training


def _train_and_export(
    trainer: ConversationTrainer, start: RunStart, metadata: RunMetadata, report: ProgressSink
) -> None:
    assert trainer.args.output_dir is not None
    output_dir = Path(trainer.args.output_dir)
    checkpoint = start.checkpoint
    if trainer.args.should_save:
        remove_incomplete_checkpoints(output_dir)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = trainer.state.global_step
    if step < trainer.state.max_steps and not trainer.has_stopped_early:
        report(Stopped(step=step, path=str(output_dir / f"checkpoint-{step}")))
        return
    report(PhaseChange(phase="saving"))
    trainer.load_best()
    trainer.require_disk_space_for_final_model()
    with disk_full_context(
        "the final model", output_dir, undo=partial(_remove_weights, output_dir)
    ):
        if rank() == 0:
            _remove_labels(output_dir)
        trainer.save_model()
        trainer.save_state()
        saved = ModelSaved(
            path=str(output_dir),
            step=step,
            train_loss=trainer.mean_loss(),
            tokens_seen=int(trainer.state.num_input_tokens_seen),
        )
        if rank() == 0:
            write_card(output_dir, metadata, History.read(metadata.progress_file), saved)
            finished = FinishedRun(**saved.model_dump(include={*FinishedRun.model_fields}))
            start.record.model_copy(update={"finished": finished}).write(output_dir)
    report(saved)


def _remove_labels(output_dir: Path) -> None:
    """Removes the card and the record of an earlier model, which must not describe new weights."""
    for name in (RUN_RECORD, README):
        (output_dir / name).unlink(missing_ok=True)


def _remove_weights(output_dir: Path) -> None:
    """Removes the weights of an incomplete final model, which must not look complete."""
    for path in output_dir.glob("*.safetensors"):
        path.unlink()

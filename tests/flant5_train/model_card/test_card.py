"""The README.md of a finished model: true, complete, and text whatever names it quotes."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt
from PIL import Image

from flant5_train.arguments import parse_arguments
from flant5_train.config import OF_LORA, Hyperparameters
from flant5_train.model_card.card import RunMetadata, card_text, escaped, write_card
from flant5_train.model_card.plot import History
from flant5_train.protocol.progress import (
    PROGRESS_FILE,
    BestChosen,
    DataRead,
    Evaluated,
    ModelSaved,
    Record,
    StepTrained,
    TrainingStarted,
)
from flant5_train.training.progress_log import ProgressLog

SAVED = ModelSaved(path="out", step=4, train_loss=1.5, tokens_seen=12345)
HOSTILE = "<img src=x onerror=alert(1)>|**[a](http://b.example)** `c` ![d](e)\n# f --- $g$ \\"


def told(tmp_path: Path, **flags: object) -> RunMetadata:
    settings = {"data_path": "talks.json", "output_dir": tmp_path, **flags}
    return RunMetadata.of(
        parse_arguments([f"--{name}={value}" for name, value in settings.items()])
    )


def trained(step: int, loss: float) -> StepTrained:
    return StepTrained(
        step=step, max_steps=4, epoch=step / 4, loss=loss, learning_rate=1e-4, tokens_seen=9 * step,
        tokens_per_second=5.0, eta_seconds=1.0,
    )  # fmt: skip


def evaluated(step: int, loss: float) -> Evaluated:
    return Evaluated(
        step=step, eval_loss=loss, eval_perplexity=2.5, eval_token_accuracy=0.625, eval_tokens=80
    )


def started(step: int) -> TrainingStarted:
    return TrainingStarted(step=step, max_steps=4, num_pairs=21, num_processes=2)


def data_read(**left_out: int) -> DataRead:
    report = {"conversations": 20, "pairs": 1021, "source_tokens": 182391, "target_tokens": 75410}
    return DataRead(
        split="train",
        report={**report, "truncated_sources": 8, "truncated_targets": 0, "left_out": left_out},
    )


def history(tmp_path: Path, *records: Record) -> History:
    log = ProgressLog(tmp_path / PROGRESS_FILE)
    for record in records:
        log.append(record)
    log.close()
    return History.read(tmp_path / PROGRESS_FILE)


def front_matter(text: str) -> ModelCardData:
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert isinstance(data, ModelCardData)
    return data


def rendered(text: str) -> str:
    """As HTML, by a renderer that lets HTML through."""
    body = text.split("---\n", 2)[2]
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(body))


def test_a_card_says_what_was_trained_on_what_and_how(tmp_path: Path) -> None:
    records = (data_read(**{"empty answer": 3}), started(0), trained(4, 1.0), evaluated(4, 0.9))
    text = card_text(told(tmp_path, learning_rate=2e-5), history(tmp_path, *records), SAVED)
    html = rendered(text)
    found = re.findall(r"<tr>.*?</tr>", html, re.DOTALL)
    cells = [re.sub(r"</?t[hdr]>", "", row).split() for row in found]
    rows = {" ".join(row) for row in cells}
    assert {
        *("file talks.json", "conversations 20", "input tokens per epoch 182,391"),
        *("question-answer pairs 1,021", "truncated questions 8", "truncated answers 0"),
        *("steps 4", "tokens trained on 12,345", "processes 2", "learning_rate 2e-05"),
        *("loss per token 0.9000", "token accuracy (teacher forcing) 62.5%", "seed 42"),
    } <= rows
    assert {"optim adamw_torch_fused", "lr_scheduler_type linear"} <= rows
    assert "Left out of train: 3 x empty answer." in html
    assert '<img src="loss.png"' in html


def test_every_hyperparameter_is_in_the_card_by_the_name_of_a_request(tmp_path: Path) -> None:
    flags = {"gradient_checkpointing": "true", "finetuning_type": "lora", "lora_rank": 7}
    found = told(tmp_path, **flags).hyperparameters
    assert found.keys() == Hyperparameters.model_fields.keys() - {"num_gpus", "num_nodes"}
    assert (found["gradient_checkpointing"], found["lora_rank"]) == (True, 7)
    assert not told(tmp_path).hyperparameters.keys() & set(OF_LORA)


def test_the_epochs_are_those_that_ran_and_not_those_without_effect(tmp_path: Path) -> None:
    saved = ModelSaved(path="out", step=300, train_loss=1.5, tokens_seen=12345)
    seen = history(tmp_path, started(0), trained(4, 1.0))
    by_steps = card_text(told(tmp_path, max_steps=300), seen, saved)
    assert "| epochs | 75 |" in by_steps
    assert "| max_steps | 300 |" in by_steps
    assert "num_train_epochs" not in by_steps
    by_epochs = card_text(told(tmp_path, num_train_epochs=2.0), seen, SAVED)
    assert "| num_train_epochs | 2.0 |" in by_epochs
    assert "| epochs | 1 |" in by_epochs


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
def test_a_card_names_what_loads_the_tokenizer_wrong(tmp_path: Path, tokenization: str) -> None:
    text = card_text(told(tmp_path, tokenization=tokenization), history(tmp_path), SAVED)
    assert "`T5Tokenizer`" in text
    assert ("`４`" in text) is (tokenization == "lossless")
    assert "docs/elsewhere.md" in text
    assert "`tie_word_embeddings=False` should be set" in text


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    of_hub = told(tmp_path, model_name_or_path="google/flan-t5-xl", finetuning_type="lora")
    data = front_matter(card_text(of_hub, history(tmp_path), SAVED))
    assert (data.base_model, data.library_name) == ("google/flan-t5-xl", "transformers")
    assert data.tags == ["t5", "flan-t5", "flant5", "conversational", "lora"]
    directory = tmp_path / "jobs" / "ftjob-a" / "output"
    directory.mkdir(parents=True)
    for name in (directory, "flant5-demo"):
        text = card_text(told(tmp_path, model_name_or_path=name), history(tmp_path), SAVED)
        assert front_matter(text).base_model is None, "the hub would look for such a model"
        assert str(tmp_path) not in text, "where models lie is nobody's business"
    assert "fine-tuned from ftjob-a with" in card_text(
        told(tmp_path, model_name_or_path=directory), history(tmp_path), SAVED
    )


def test_names_that_others_chose_stay_text(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "")
    bad = told(tmp_path, model_name_or_path=f"{hostile}: x", data_path=hostile)
    text = card_text(bad, history(tmp_path, data_read(**{HOSTILE: 1})), SAVED)
    assert front_matter(text).base_model == f"{hostile}: x"
    html = rendered(text)
    assert html.count("<img") == 1, "the curve"
    assert not re.search(r"<(a|strong|script)\b", html)
    assert html.count("<h1>") == 1
    quoted = "&lt;img src=x onerror=alert(1)&gt;|**[a](http:b.example)** `c` ![d](e) # f --- $g$ \\"
    assert f"<td>{quoted}</td>" in html
    assert escaped("http://b.example www.b.example me@b.example _a_ b_c") == (
        "http\\://b.example www\\.b.example me\\@b.example \\_a\\_ b_c"
    ), "of which others would make links"


def test_files_and_results_of_the_service_are_called_by_their_ids(tmp_path: Path) -> None:
    stored = tmp_path / "files" / "file-a" / "content"
    assert told(tmp_path, data_path=stored).training_data == "file-a"
    assert told(tmp_path, validation_file=stored).validation_data == "file-a"


def test_work_that_was_done_again_counts_once(tmp_path: Path) -> None:
    lost = (started(0), trained(1, 9.0), trained(2, 8.0), evaluated(2, 7.0), trained(3, 7.0))
    again = (started(1), trained(2, 5.0), evaluated(2, 4.0), trained(3, 3.0))
    seen = history(tmp_path, *lost, *again)
    assert [(each.step, each.loss) for each in seen.steps] == [(1, 9.0), (2, 5.0), (3, 3.0)]
    assert [each.eval_loss for each in seen.evaluations] == [4.0]
    assert seen.of_model is None, "the last step was not evaluated"
    assert history(tmp_path, BestChosen(step=2, eval_loss=4.0)).of_model == seen.evaluations[0]


def test_a_line_that_is_no_record_does_not_cost_the_card(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text('{"type": "of the future"}\nnonsense\n')
    assert [each.step for each in history(tmp_path, trained(1, 2.0)).steps] == [1]


@pytest.mark.parametrize("losses", [[], [2.0], [5.0, float("nan"), 4.0], [3.0] * 5000])
def test_the_curves_are_an_image_whatever_they_hold(tmp_path: Path, losses: list[float]) -> None:
    steps = [trained(number, loss) for number, loss in enumerate(losses, start=1)]
    seen = History(
        steps=tuple(steps), evaluations=(), data={}, start=None, best=None, early_stop=None
    )
    write_card(tmp_path, told(tmp_path), seen, SAVED)
    with Image.open(tmp_path / "loss.png") as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (1200, 540))
        colors = {color for _, color in image.getcolors(maxcolors=1_000_000) or []}
    assert ((31, 104, 176) in colors) == bool(losses), "the color of the smoothed loss"
    assert (tmp_path / "README.md").read_text().startswith("---\nlibrary_name: transformers\n")

import json
from pathlib import Path

import pytest
import torch

from flant5_train.arguments import DataArguments
from flant5_train.config import OnBadRecord
from flant5_train.data.cache import DataCache
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import make_supervised_data_module
from flant5_train.data.encoding import encoder_for
from flant5_train.data.errors import DataError
from flant5_train.data.pairs import split_by_conversation
from flant5_train.models.tokenizer import LosslessTokenizer
from tests.flant5_train.conftest import EXAMPLES


@pytest.fixture
def cache(lossless: LosslessTokenizer, tmp_path: Path) -> DataCache:
    return DataCache(tmp_path / "cache", encoder_for(lossless), OnBadRecord.FAIL)


def arguments(tmp_path: Path, **settings: object) -> DataArguments:
    given = {"data_path": str(EXAMPLES), "cache_directory": str(tmp_path / "cache")}
    return DataArguments(**given | settings)  # type: ignore[arg-type]


def test_an_encoded_file_is_found_again(cache: DataCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.build(EXAMPLES)
    monkeypatch.setattr("flant5_train.data.cache.encode_file", None)
    again = cache.build(EXAMPLES)
    assert again.manifest == first.manifest
    assert (again.tokens == first.tokens).all()
    assert first.tokens.dtype == "uint16"


def test_weights_system_texts_and_missing_questions_decide_what_is_learned(
    lossless: LosslessTokenizer, tmp_path: Path
) -> None:
    answers = [{"from": "gpt", "value": "Welcome!"}, {"from": "human", "value": "Hi"}]
    answers += [{"from": "gpt", "value": "No.", "weight": 0}, {"from": "human", "value": "Well?"}]  # type: ignore[dict-item]
    talk = {"conversations": [*answers, {"from": "gpt", "value": "Yes."}], "system": "Be brief."}
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([talk]))
    whole = "Be brief.\n\nWelcome!\n### Human: Hi\n### Assistant: No.\n### Human: Well?\n"
    for how, expected in (("train", ["Welcome!\n", "Yes.\n"]), ("skip", ["Yes.\n"])):
        data = arguments(tmp_path, data_path=str(path), on_missing_question=how)
        pairs = make_supervised_data_module(lossless, data)["train_dataset"]
        labels = [pairs[row]["labels"] for row in range(len(pairs))]
        assert [lossless.decode(ids, skip_special_tokens=True) for ids in labels] == expected
        last = lossless.decode(pairs[len(pairs) - 1]["input_ids"], skip_special_tokens=True)
        assert last == f"{whole}### Assistant: "
        report = pairs.report()
        assert report.warnings == {"answer without a question": 1}
        left_out = {"answer without a question": 1} if how == "skip" else {}
        assert report.left_out == {"answer of weight 0": 1, **left_out}


def test_another_content_is_encoded_anew(cache: DataCache, tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    talks = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for count in (2, 3):
        path.write_text(json.dumps(talks[:count]), encoding="utf-8")
        assert cache.build(path).manifest.num_conversations == count


def test_without_its_manifest_an_encoded_file_does_not_count(cache: DataCache) -> None:
    cache.build(EXAMPLES)
    (manifest,) = cache.directory.glob("*/manifest.json")
    manifest.unlink()
    (manifest.parent / "tokens.bin").write_bytes(b"half")
    assert len(cache.build(EXAMPLES).tokens) == cache.wait(EXAMPLES).manifest.num_tokens


def test_a_file_without_pairs_is_refused_with_the_reasons(cache: DataCache, tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([{"conversations": [{"from": "human", "value": "x"}]}]))
    with pytest.raises(DataError, match=r"no pair of .* \(1 x human turn without an answer\)"):
        cache.build(path)


def test_the_report_counts_what_is_there_and_what_is_cut(
    lossless: LosslessTokenizer, tmp_path: Path
) -> None:
    limits = {"max_source_length": 200, "max_target_length": 50}
    data = make_supervised_data_module(lossless, arguments(tmp_path, **limits))["train_dataset"]
    report = data.report()
    examples = [data[index] for index in range(len(data))]
    assert report.pairs == len(data)
    assert report.source_tokens == sum(len(example["input_ids"]) for example in examples)
    assert report.target_tokens == sum(len(example["labels"]) for example in examples)
    assert max(len(example["input_ids"]) for example in examples) == 200
    assert report.truncated_sources > 0
    assert report.truncated_targets == sum(1 not in example["labels"] for example in examples)
    assert report.source_lengths.max > 200


def test_a_split_keeps_conversations_whole_and_is_the_same_each_time(cache: DataCache) -> None:
    encoded = cache.build(EXAMPLES)
    number = encoded.spans[:, 4]
    split = split_by_conversation(number, share=0.2, seed=7)
    assert not set(number[split.train]) & set(number[split.validation])
    assert len(split.train) + len(split.validation) == encoded.manifest.num_pairs
    again = split_by_conversation(number, share=0.2, seed=7)
    assert (split.validation == again.validation).all()
    other = split_by_conversation(number, share=0.2, seed=8)
    assert list(split.validation) != list(other.validation)


def test_a_validation_file_is_a_data_set_of_its_own(
    lossless: LosslessTokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "validation.json"
    talks = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    path.write_text(json.dumps(talks[:5]), encoding="utf-8")
    data = make_supervised_data_module(lossless, arguments(tmp_path, validation_file=str(path)))
    assert data["eval_dataset"] is not None
    assert len(data["eval_dataset"]) == 5


def test_a_batch_is_padded_to_its_longest_and_shifted_for_the_decoder(
    lossless: LosslessTokenizer,
) -> None:
    collate = DataCollatorForSupervisedDataset(lossless)
    batch = collate(
        [
            {"input_ids": torch.tensor([5, 6, 1]), "labels": torch.tensor([7, 1])},
            {"input_ids": torch.tensor([8, 1]), "labels": torch.tensor([9, 10, 11, 1])},
        ]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 1], [8, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[7, 1, -100, -100], [9, 10, 11, 1]]
    assert batch["decoder_input_ids"].tolist() == [[0, 7, 1, 0], [0, 9, 10, 11]]

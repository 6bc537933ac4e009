from pathlib import Path

import pytest

from tests.worker.scenes import claimed_job
from worker.jobs.deletion import Deletions
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import model_id
from worker.jobs.settings import SharedSettings
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.serialization import Claim, Succeeded
from worker.jobs.store.store import JobStore


@pytest.fixture
def settings(tmp_path: Path) -> SharedSettings:
    return SharedSettings(home=tmp_path / "home", hub_models="google/flan-t5-*, acme/t5")


@pytest.fixture
def catalog(settings: SharedSettings, store: JobStore) -> ModelCatalog:
    return ModelCatalog(settings, store)


def make_model(directory: Path) -> str:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    return str(directory)


def finished_job(settings: SharedSettings, store: JobStore) -> tuple[Claim, str]:
    claim = claimed_job(store, suffix="math")
    model = model_id(claim.job.id, claim.job.spec)
    store.leases.finish(claim, Succeeded(model))
    make_model(settings.home_directories.run_directory(claim.job.id).output)
    return claim, model


def test_the_demo_model_and_allowed_hub_names_are_loaded_by_name(catalog: ModelCatalog) -> None:
    for name in ("flant5-demo", "google/flan-t5-xl", "acme/t5"):
        assert catalog.resolve(name) == name
        assert catalog.get(name).id == name


def test_a_directory_under_models_is_loaded_from_there(
    catalog: ModelCatalog, settings: SharedSettings
) -> None:
    directory = make_model(settings.home_directories.models / "my-t5")
    assert catalog.resolve("my-t5") == directory
    assert [model.id for model in catalog.list()] == ["flant5-demo", "my-t5"]


def test_a_directory_under_the_models_root_comes_after_one_of_our_own(
    settings: SharedSettings, store: JobStore, tmp_path: Path
) -> None:
    mounted = [make_model(tmp_path / "models" / name) for name in ("my-t5", "other-t5")]
    own = make_model(settings.home_directories.models / "my-t5")
    rooted = settings.model_copy(update={"models_root": tmp_path / "models"})
    catalog = ModelCatalog(rooted, store)
    assert (catalog.resolve("my-t5"), catalog.resolve("other-t5")) == (own, mounted[1])
    assert [model.id for model in catalog.list()] == ["flant5-demo", "my-t5", "other-t5"]


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "..",
        "../secret",
        "/etc",
        ".hidden",
        "a/b/c",
        "google/../../etc",
        "",
        "google/flan-t5-xl/..",
        "acme/other",
        "google/flan-t5-xl\n",
        "~root",
        "models\x00",
    ],
)
def test_any_other_name_is_refused_with_what_is_possible(
    catalog: ModelCatalog, settings: SharedSettings, name: str
) -> None:
    make_model(settings.home_directories.models / "my-t5")
    make_model(settings.home_directories.root / "secret")
    with pytest.raises(NotFoundError) as caught:
        catalog.resolve(name)
    assert "flant5-demo, my-t5, hub names like google/flan-t5-*" in str(caught.value)


def test_a_directory_without_a_model_is_no_model(
    catalog: ModelCatalog, settings: SharedSettings
) -> None:
    (settings.home_directories.models / "empty").mkdir(parents=True)
    with pytest.raises(NotFoundError):
        catalog.resolve("empty")
    assert [model.id for model in catalog.list()] == ["flant5-demo"]


def test_a_jobs_model_and_its_checkpoints_are_loaded_from_its_output(
    catalog: ModelCatalog, settings: SharedSettings, store: JobStore
) -> None:
    claim, model = finished_job(settings, store)
    output = settings.home_directories.run_directory(claim.job.id).output
    make_model(output / "checkpoint-40")
    assert catalog.resolve(model) == str(output)
    assert catalog.resolve(f"{model}:ckpt-step-40") == str(output / "checkpoint-40")
    with pytest.raises(NotFoundError, match=r"the files of model .* are gone"):
        catalog.resolve(f"{model}:ckpt-step-41")
    assert [item.id for item in catalog.list()] == [model, "flant5-demo"]
    assert catalog.get(model).owned_by == "flant5"


def test_a_job_that_did_not_succeed_has_checkpoints_but_no_model(
    catalog: ModelCatalog, settings: SharedSettings, store: JobStore
) -> None:
    claim = claimed_job(store)
    output = settings.home_directories.run_directory(claim.job.id).output
    make_model(output / "checkpoint-3")
    model = model_id(claim.job.id, claim.job.spec)
    assert catalog.resolve(f"{model}:ckpt-step-3") == str(output / "checkpoint-3")
    with pytest.raises(NotFoundError):
        catalog.resolve(model)


def test_only_models_of_jobs_can_be_deleted(
    catalog: ModelCatalog, settings: SharedSettings, store: JobStore
) -> None:
    _, model = finished_job(settings, store)
    deletions = Deletions(store, settings.home_directories)
    with pytest.raises(InvalidRequestError, match="only models made by jobs"):
        deletions.delete_model_by_name("flant5-demo", catalog)
    with pytest.raises(NotFoundError):
        deletions.delete_model_by_name("nothing", catalog)
    deletions.delete_model_by_name(model, catalog)
    with pytest.raises(NotFoundError):
        catalog.get(model)
    with pytest.raises(NotFoundError):
        deletions.delete_model_by_name(model, catalog)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("google/flan-t5-bse", "'google/flan-t5-base'"),
        ("acme/t6", "'acme/t5'"),
        ("flant5-dmo", "'flant5-demo'"),
        ("my-t6", "'my-t5'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_one(
    catalog: ModelCatalog, settings: SharedSettings, name: str, hint: str
) -> None:
    make_model(settings.home_directories.models / "my-t5")
    with pytest.raises(NotFoundError, match=f"did you mean {hint}"):
        catalog.resolve(name)


def test_a_hub_name_that_the_operator_wrote_out_is_taken(
    settings: SharedSettings, store: JobStore
) -> None:
    named = settings.model_copy(update={"hub_models": "google/flan-t5-*,google/flan-t5-tiny"})
    assert ModelCatalog(named, store).resolve("google/flan-t5-tiny") == "google/flan-t5-tiny"


def test_a_misspelt_model_of_a_job_is_answered_with_those_of_its_owner(
    catalog: ModelCatalog, settings: SharedSettings, store: JobStore
) -> None:
    claim, model = finished_job(settings, store)
    checkpoint = settings.home_directories.run_directory(claim.job.id).output / "checkpoint-40"
    make_model(checkpoint)
    with pytest.raises(NotFoundError, match=f"did you mean '{model}'"):
        catalog.resolve(model.replace("math", "mth"))
    with pytest.raises(NotFoundError) as refused:
        catalog.resolve(model.replace("math", "mth"), owner="somebody")
    assert "did you mean" not in str(refused.value)
    with pytest.raises(NotFoundError, match="the job has checkpoints at steps 40"):
        catalog.resolve(f"{model}:ckpt-step-41")

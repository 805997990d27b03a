"""Models are loaded once, kept while there is room, and refused if they are damaged or unsupported."""

from pathlib import Path

import anyio
import numpy as np
import pytest
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from inference_worker.tensors import Row
from shared_schemas.errors import AttemptFailed, ErrorInfo, ModelNotFound
from shared_schemas.models import Model
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import (
    Published,
    a_model,
    bigram,
    byte_tokenizer,
    linear,
    logarithm,
    regression,
    with_external_data,
)

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
FEATURES = ("a", "b", "c")
LABELS = ("no", "yes")
CPU = Settings(device="cpu", intra_op_threads=1)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def a_classifier(store: ArtifactStore, *, name: str = "model", version: int = 1) -> Model:
    bias = np.array([version, 0], dtype=np.float32)
    return a_model(store, linear(WEIGHTS, bias), name=name, version=version, labels=LABELS, features=FEATURES)


async def refusal_of(models: LoadedModels, model_id: str) -> ErrorInfo:
    with pytest.raises(AttemptFailed) as refusal:
        async with models.use(model_id):
            pass
    return refusal.value.info()


async def test_a_model_is_loaded_on_demand_and_answers(store: ArtifactStore) -> None:
    published = Published(a_classifier(store))

    async with LoadedModels(published.resolve, store, CPU) as models:
        assert models.refs == ()
        async with models.use("model") as model:
            outputs = await model.engine.infer(Row({"features": np.ones(3, dtype=np.float32)}))

    assert str(model.ref) == "model@1"
    assert outputs["logits"].tolist() == [7.0, 9.0]


async def test_jobs_that_ask_at_once_load_it_once(store: ArtifactStore) -> None:
    published = Published(a_classifier(store))
    engines: list[int] = []

    async def use() -> None:
        async with models.use("model") as model:
            engines.append(id(model.engine))
            await anyio.wait_all_tasks_blocked()

    async with LoadedModels(published.resolve, store, CPU) as models:
        async with anyio.create_task_group() as jobs:
            for _ in range(20):
                jobs.start_soon(use)
        async with models.use("model") as model:
            n_runs = model.engine.n_runs

    assert len(engines) == 20
    assert len(set(engines)) == 1
    assert n_runs == 1, "the warm-up alone"


async def test_a_job_cancelled_while_it_waits_leaves_the_others_their_model(store: ArtifactStore) -> None:
    published = Published(a_classifier(store))
    served: list[str] = []

    async def use() -> None:
        async with models.use("model") as model:
            served.append(str(model.ref))

    async with (
        LoadedModels(published.resolve, store, CPU) as models,
        anyio.create_task_group() as patient,
        anyio.create_task_group() as impatient,
    ):
        impatient.start_soon(use)
        await anyio.lowlevel.checkpoint()
        patient.start_soon(use)
        await anyio.lowlevel.checkpoint()
        impatient.cancel_scope.cancel()

    assert served == ["model@1"]


async def test_a_loaded_version_is_not_looked_up_again_but_a_name_is(store: ArtifactStore) -> None:
    published = Published(a_classifier(store))

    async with LoadedModels(published.resolve, store, CPU) as models:
        for model_id in ("model@1", "model@1", "model@1"):
            async with models.use(model_id):
                pass
        assert published.n_lookups == 1

        published.add(a_classifier(store, version=2))
        async with models.use("model") as newest:
            pass

    assert str(newest.ref) == "model@2"


async def test_the_model_used_least_recently_makes_room(store: ArtifactStore) -> None:
    published = Published(*(a_classifier(store, name=name) for name in "abc"))
    n_bytes = (await published.resolve("a")).manifest.onnx.n_bytes
    settings = Settings(device="cpu", intra_op_threads=1, models_bytes=2 * n_bytes)

    async with LoadedModels(published.resolve, store, settings) as models:
        for model_id in ("a", "b", "a", "c"):
            async with models.use(model_id):
                pass

        assert [ref.name for ref in models.refs] == ["a", "c"]


async def test_a_model_in_use_is_not_unloaded_until_it_is_idle(store: ArtifactStore) -> None:
    published = Published(*(a_classifier(store, name=name) for name in "ab"))
    n_bytes = (await published.resolve("a")).manifest.onnx.n_bytes
    settings = Settings(device="cpu", intra_op_threads=1, models_bytes=n_bytes)

    async with LoadedModels(published.resolve, store, settings) as models:
        async with models.use("a") as model:
            async with models.use("b"):
                assert [ref.name for ref in models.refs] == ["a", "b"]
            await model.engine.infer(Row({"features": np.ones(3, dtype=np.float32)}))
        assert len(models.refs) == 1

        async with models.use("a") as again:
            await again.engine.infer(Row({"features": np.ones(3, dtype=np.float32)}))


async def test_a_model_larger_than_the_memory_for_models_is_refused(store: ArtifactStore) -> None:
    published = Published(a_classifier(store))
    settings = Settings(device="cpu", models_bytes=10)

    async with LoadedModels(published.resolve, store, settings) as models:
        assert (await refusal_of(models, "model")).code == "model_too_large"


async def test_an_unknown_model_is_not_found(store: ArtifactStore) -> None:
    async with LoadedModels(Published().resolve, store, CPU) as models:
        with pytest.raises(ModelNotFound):
            async with models.use("nobody"):
                pass


async def test_a_file_with_other_contents_is_corrupt_and_loads_once_it_is_repaired(store: ArtifactStore) -> None:
    model = a_classifier(store)
    path = store.path(model.manifest.onnx)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")

    async with LoadedModels(Published(model).resolve, store, CPU) as models:
        refusal = await refusal_of(models, "model")
        path.write_bytes(whole)
        async with models.use("model"):
            pass

    assert (refusal.code, refusal.retryable) == ("model_corrupt", False)


async def test_a_file_that_is_not_there_may_come_later(store: ArtifactStore) -> None:
    model = a_classifier(store)
    store.path(model.manifest.onnx).unlink()

    async with LoadedModels(Published(model).resolve, store, CPU) as models:
        refusal = await refusal_of(models, "model")

    assert (refusal.code, refusal.retryable) == ("model_unavailable", True)


async def test_tensors_outside_the_file_are_refused_even_where_they_could_be_read(
    store: ArtifactStore, tmp_path: Path
) -> None:
    outside = with_external_data(linear(WEIGHTS, WEIGHTS[0]), tmp_path)
    model = a_model(store, outside, labels=LABELS, features=FEATURES)
    (tmp_path / "weights.bin").rename(store.path(model.manifest.onnx).parent / "weights.bin")

    async with LoadedModels(Published(model).resolve, store, CPU) as models:
        refusal = await refusal_of(models, "model")

    assert (refusal.code, refusal.message) == (
        "model_unsupported",
        "the model keeps tensors outside its file, which is refused",
    )


async def test_models_that_contradict_their_manifest_are_refused(store: ArtifactStore) -> None:
    model = linear(WEIGHTS, WEIGHTS[0])
    table = np.zeros((260, 260), dtype=np.float32)
    text = {"task": "text-generation", "context_length": 8}
    unusable = {
        "html": a_model(store, b"<html>", labels=LABELS, features=FEATURES),
        "labels": a_model(store, model, labels=("a", "b", "c"), features=FEATURES),
        "features": a_model(store, model, labels=LABELS, features=("a",)),
        "inputs": a_model(store, bigram(table), labels=LABELS, features=FEATURES),
        "outputs": a_model(store, regression(WEIGHTS[:, 0]), labels=LABELS, features=FEATURES),
        "first-run": a_model(store, bigram(table[:1]), tokenizer=byte_tokenizer(), **text),
        "no-tokenizer": a_model(store, bigram(table), **text),
        "bad-tokenizer": a_model(store, bigram(table), tokenizer=b"{}", **text),
    }
    codes: dict[str, str] = {}
    for name, one in unusable.items():
        async with LoadedModels(Published(one).resolve, store, CPU) as models:
            codes[name] = (await refusal_of(models, "model")).code
            assert models.refs == ()

    corrupt = {"html", "bad-tokenizer"}
    assert codes == {name: "model_corrupt" if name in corrupt else "model_unsupported" for name in unusable}


async def test_one_bad_model_does_not_disturb_a_good_one(store: ArtifactStore) -> None:
    good = a_model(store, logarithm(2), task="tabular-regression", name="good", features=("a", "b"))
    bad = a_model(store, b"<html>", name="bad", features=("a", "b"))

    async with LoadedModels(Published(good, bad).resolve, store, CPU) as models, models.use("good") as model:
        await refusal_of(models, "bad")
        outputs = await model.engine.infer(Row({"features": np.ones(2, dtype=np.float32)}))

    assert outputs["prediction"] == pytest.approx(np.log(2))

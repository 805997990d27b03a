"""From a CSV file to a model that computes in ONNX what it computes in torch."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from shared_schemas.errors import AttemptFailed, DataRejected, HeadraceError, SpecRejected
from shared_schemas.events import Logged, Progressed
from shared_schemas.models import ModelManifest
from shared_schemas.specs import Hyperparameters
from shared_schemas.store.files import ArtifactStore
from tokenizers import Tokenizer
from training_worker.handler import digest_of
from training_worker.messages import Finished

from tests.support.training import (
    TINY,
    assignment,
    experiment,
    fitted,
    measured,
    never,
    trained,
    write_csv,
    write_table,
    write_texts,
)


def served(root: Path, manifest: ModelManifest) -> onnxruntime.InferenceSession:
    path = ArtifactStore(root / "artifacts").verify(manifest.onnx)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == [spec.name for spec in manifest.inputs]
    assert [given.name for given in session.get_outputs()] == [spec.name for spec in manifest.outputs]
    assert [list(given.shape) for given in session.get_inputs()] == [list(spec.shape) for spec in manifest.inputs]
    return session


def refused(root: Path, **spec: object) -> HeadraceError:
    from training_worker.training import train

    with pytest.raises(HeadraceError) as caught:
        train(assignment(root, **spec), report=lambda event: None, should_stop=never)
    return caught.value


def beats(finished: Finished, metric: str) -> bool:
    metrics, baseline = finished.manifest.metrics, finished.manifest.baseline
    reached, trivial = metrics[metric], baseline[metric]
    assert reached is not None
    assert trivial is not None
    return reached > trivial if metric == "accuracy" else reached < trivial


def test_a_table_with_classes_gives_a_classifier_that_beats_the_majority(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")

    finished, events = trained(
        assignment(
            tmp_path,
            model_type="mlp",
            data_path="table.csv",
            label_column="kind",
            feature_columns=("z", "x"),
            hyperparameters=Hyperparameters(epochs=30, learning_rate=0.01, batch_size=16, width=16, layers=1),
        )
    )

    manifest = finished.manifest
    assert (manifest.task, manifest.labels, manifest.features) == (
        "tabular-classification",
        ("cold", "warm"),
        ("z", "x"),
    )
    assert (manifest.target, manifest.parameters > 0, manifest.opset > 0) == ("kind", True, True)
    assert beats(finished, "accuracy")
    rows = np.array([[0.5, 0.5], [-0.5, -0.5], [0.9, 0.0]], dtype=np.float64)
    for feed, classes in ((rows, [1, 0, 1]), (rows[:1], [1])):
        [logits] = served(tmp_path, manifest).run(["logits"], {"features": feed})
        assert logits.argmax(1).tolist() == classes
    assert any("baseline to beat" in event.line for event in events if isinstance(event, Logged))
    assert [event for event in events if isinstance(event, Progressed)][-1].fraction == 1.0


def test_a_table_with_a_quantity_gives_a_regression_in_its_own_unit(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")

    finished, _ = trained(
        assignment(
            tmp_path,
            model_type="mlp",
            data_path="table.csv",
            feature_columns=("x", "z"),
            hyperparameters=Hyperparameters(
                epochs=60, learning_rate=0.01, batch_size=8, width=16, layers=1, dropout=0.0
            ),
        )
    )

    manifest = finished.manifest
    assert (manifest.task, manifest.target, manifest.labels) == ("tabular-regression", "amount", ())
    assert beats(finished, "rmse")
    rows = np.array([[0.5, 0.5], [-0.5, 0.5]], dtype=np.float64)
    [prediction] = served(tmp_path, manifest).run(["prediction"], {"features": rows})
    assert prediction.shape == (2,)
    assert np.allclose(prediction, [101.0, 98.0], atol=1.0)


def test_texts_with_a_label_give_a_classifier_and_its_tokenizer(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv", 64)
    wanted = Hyperparameters(
        epochs=12, batch_size=8, width=32, layers=1, max_length=12, vocabulary_size=300, learning_rate=5e-3
    )

    finished, _ = trained(assignment(tmp_path, model_type="transformer", data_path="texts.csv", hyperparameters=wanted))

    manifest = finished.manifest
    assert (manifest.task, manifest.labels, manifest.context_length) == ("text-classification", ("rain", "sun"), 12)
    assert beats(finished, "accuracy")
    assert manifest.tokenizer is not None
    tokenizer = Tokenizer.from_file(str(ArtifactStore(tmp_path / "artifacts").verify(manifest.tokenizer)))
    assert [tokenizer.token_to_id(token) for token in ("<pad>", "<unk>", "<bos>", "<eos>")] == [0, 1, 2, 3]
    text = "a long day — of sun\n\tand “quotes”"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    session = served(tmp_path, manifest)
    ids = tokenizer.encode("the day of sun").ids[:12]
    alone = session.run(["logits"], {"input_ids": [ids], "attention_mask": [[1] * len(ids)]})[0]
    padding = [0] * (12 - len(ids))
    padded = session.run(
        ["logits"], {"input_ids": [ids + padding] * 2, "attention_mask": [[1] * len(ids) + padding] * 2}
    )[0]
    assert np.allclose(alone[0], padded[1], atol=1e-4)
    assert manifest.labels[int(alone.argmax())] == "sun"


def test_texts_alone_give_a_language_model_that_attends_only_to_earlier_tokens(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv", 64, labelled=False)
    wanted = Hyperparameters(
        epochs=6, batch_size=8, width=32, layers=1, max_length=16, vocabulary_size=300, learning_rate=1e-2
    )

    finished, events = trained(
        assignment(tmp_path, model_type="transformer", data_path="texts.csv", hyperparameters=wanted)
    )

    manifest = finished.manifest
    vocabulary = manifest.outputs[0].shape[2]
    assert (manifest.task, manifest.baseline) == ("text-generation", {"perplexity": vocabulary})
    perplexity = manifest.metrics["perplexity"]
    assert perplexity is not None
    assert isinstance(vocabulary, int)
    assert perplexity < vocabulary / 4
    session = served(tmp_path, manifest)
    ids = [[2, 70, 80, 90, 100]]
    whole = session.run(["logits"], {"input_ids": ids, "attention_mask": [[1] * 5]})[0]
    prefix = session.run(["logits"], {"input_ids": [ids[0][:3]], "attention_mask": [[1] * 3]})[0]
    assert np.allclose(whole[0, :3], prefix[0], atol=1e-4)
    assert all("tokens_per_s" in event.values for event in events if getattr(event, "split", "") == "train")


def test_a_validation_file_is_held_out_even_if_it_has_one_row(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    write_csv(tmp_path / "held.csv", ["amount,kind,z,x", "102,warm,0.5,0.5"])

    finished, events = trained(
        assignment(
            tmp_path,
            model_type="mlp",
            data_path="table.csv",
            validation_path="/data/held.csv",
            label_column="kind",
            feature_columns=("x", "z"),
        )
    )

    assert finished.manifest.metrics["accuracy"] in (0.0, 1.0)
    assert any("48 rows to train on, 1 held out" in event.line for event in events if isinstance(event, Logged))
    two = np.zeros((2, 2), dtype=np.float64)
    assert served(tmp_path, finished.manifest).run(None, {"features": two})[0].shape == (2, 2)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")

    first, events = fitted(assignment(tmp_path, model_type="transformer", data_path="texts.csv"))
    again, same = fitted(assignment(tmp_path, model_type="transformer", data_path="texts.csv"))
    other, _ = fitted(assignment(tmp_path, model_type="transformer", data_path="texts.csv", seed=2**53 - 1))

    assert first == again
    assert measured(events) == measured(same)
    assert other.weights_sha256 != first.weights_sha256


def test_the_digest_of_a_result_leaves_out_what_may_differ_in_a_replay(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    job = {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z"), "hyperparameters": TINY}

    manifest = trained(assignment(tmp_path, **job))[0].manifest
    again = trained(assignment(tmp_path, tags=("replay",), **job))[0].manifest
    worse = msgspec.structs.replace(manifest, metrics={**manifest.metrics, "rmse": 1.0})

    assert again == manifest
    assert digest_of(msgspec.structs.replace(manifest, opset=99)) == digest_of(manifest)
    assert digest_of(worse) != digest_of(manifest)


def test_max_steps_ends_a_run_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")

    finished, events = fitted(
        assignment(
            tmp_path,
            model_type="mlp",
            data_path="table.csv",
            hyperparameters=Hyperparameters(epochs=50, batch_size=8, max_steps=7, width=8, layers=1),
            feature_columns=("x", "z"),
        )
    )

    assert finished.steps == 7
    assert [step for split, step, _ in measured(events) if split == "train"] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("lines", "spec", "code", "row", "column"),
    [
        (["text,label", *["rain,a"] * 9], {}, "data_one_class", None, "label"),
        (["text,label", "rain,a", "sun,b"], {}, "data_too_few_rows", None, None),
        (["text,label", *["rain,a"] * 9, ",b"], {}, "data_missing_value", 10, "text"),
        (["text,label", *["rain,a"] * 9, "sun,"], {}, "data_missing_value", 10, "label"),
        (["text,mood", *["rain,a"] * 9], {"label_column": "label"}, "data_column_missing", None, "label"),
        (["words,more", *["rain,sun"] * 9], {}, "data_column_missing", None, None),
        (["text", *["rain"] * 9], {"task": "classification"}, "data_column_missing", None, None),
        (["text", *["a"] * 9], {}, "data_too_few_rows", None, "text"),
    ],
)
def test_texts_that_cannot_be_trained_on_are_refused(
    tmp_path: Path, lines: list[str], spec: dict[str, object], code: str, row: int | None, column: str | None
) -> None:
    write_csv(tmp_path / "data.csv", lines)

    info = refused(tmp_path, model_type="transformer", data_path="data.csv", **spec).info()

    assert (info.code, info.row, info.column, info.retryable) == (code, row, column, False)


@pytest.mark.parametrize(
    ("lines", "spec", "code", "row", "column"),
    [
        (["x,y", *["1,a"] * 9], {}, "data_one_class", None, "y"),
        (["x,y", "1,a", "2,b"], {}, "data_too_few_rows", None, None),
        (["x,y", *["1,a"] * 9, "NaN,b"], {}, "data_not_finite", 10, "x"),
        (["x,y", *["1,a"] * 9, "wide,b"], {}, "data_not_numeric", 10, "x"),
        (["x,y", *["1,a", "2,b"] * 5, "1,"], {}, "data_missing_value", 11, "y"),
        (["x,y", *["1,0.5"] * 9, "1,inf"], {}, "data_not_finite", 10, "y"),
        (["x,y", *["1,0.5"] * 9, "1,?"], {"task": "regression"}, "data_not_numeric", 10, "y"),
        (["x,y", *["1,a", "2,b"] * 5], {"feature_columns": ("z",)}, "data_column_missing", None, "z"),
        (["x,y", *["1,a", "2,b"] * 5], {"label_column": "z"}, "data_column_missing", None, "z"),
        (["y", *["a", "b"] * 5], {}, "data_column_missing", None, "y"),
    ],
)
def test_tables_that_cannot_be_trained_on_are_refused(
    tmp_path: Path, lines: list[str], spec: dict[str, object], code: str, row: int | None, column: str | None
) -> None:
    write_csv(tmp_path / "data.csv", lines)

    info = refused(tmp_path, model_type="mlp", data_path="data.csv", **spec).info()

    assert (info.code, info.row, info.column, info.retryable) == (code, row, column, False)


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["yes", "no"], "tabular-classification"),
        (["true", "false"], "tabular-classification"),
        (["1", "2"], "tabular-classification"),
        (["1.5", "2.5"], "tabular-regression"),
        ([str(n) for n in range(24)], "tabular-regression"),
    ],
)
def test_the_task_of_a_table_follows_from_its_label(tmp_path: Path, cells: list[str], task: str) -> None:
    write_csv(tmp_path / "data.csv", ["x,label", *(f"{i},{cell}" for i, cell in enumerate(cells * 12))])

    made = experiment(assignment(tmp_path, model_type="mlp", data_path="data.csv"))

    assert (made.task, made.features) == (task, ("x",))


def test_the_last_column_of_a_table_is_the_label_if_none_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", ["x,z,kind", *["1,2,a", "2,1,b"] * 6])

    made = experiment(assignment(tmp_path, model_type="mlp", data_path="data.csv"))

    assert (made.target, made.features, made.labels) == ("kind", ("x", "z"), ("a", "b"))


def test_the_error_of_an_unknown_model_type_lists_the_installed_ones(tmp_path: Path) -> None:
    error = refused(tmp_path, model_type="forest", data_path="data.csv")

    assert isinstance(error, AttemptFailed)
    assert (error.info().code, error.info().retryable) == ("unknown_model_type", False)
    assert "mlp" in str(error)
    assert "transformer" in str(error)


def test_a_task_that_the_recipe_does_not_support_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")

    assert isinstance(
        refused(tmp_path, model_type="transformer", data_path="texts.csv", task="regression"), SpecRejected
    )
    assert isinstance(
        refused(tmp_path, model_type="mlp", data_path="texts.csv", task="language-modeling"), SpecRejected
    )


def test_a_width_that_its_heads_do_not_divide_is_refused_only_if_both_were_asked_for(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    odd = Hyperparameters(epochs=1, width=35, layers=1, max_length=8, vocabulary_size=280, max_steps=1)

    fitted(assignment(tmp_path, model_type="transformer", data_path="texts.csv", hyperparameters=odd))
    error = refused(
        tmp_path,
        model_type="transformer",
        data_path="texts.csv",
        hyperparameters=Hyperparameters(width=35, heads=2),
    )

    assert isinstance(error, SpecRejected)


def test_a_loss_that_is_not_finite_ends_the_job(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", ["x,y", *["1,1.5", "-3,2.5", "3,3.5"] * 5])
    # With a learning rate of 10 and this many layers, the loss exceeds float32 at once.
    reckless = msgspec.structs.replace(TINY, layers=64, learning_rate=10.0, warmup_fraction=0.0, epochs=5)

    error = refused(tmp_path, model_type="mlp", data_path="data.csv", hyperparameters=reckless)

    assert (error.info().code, error.info().retryable) == ("training_diverged", False)


def test_a_class_that_only_the_validation_rows_have_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv")
    write_csv(tmp_path / "held.csv", ["text,label", "snow,snow"])

    error = refused(tmp_path, model_type="transformer", data_path="texts.csv", validation_path="held.csv")

    assert isinstance(error, DataRejected)
    assert (error.data_code, error.row, error.column) == ("data_unknown_class", 1, "label")

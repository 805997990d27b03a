"""What belongs to a question of the cache of results."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from inference_worker.caching import digest_of
from shared_schemas.models import ModelManifest
from shared_schemas.specs import InferenceParameters
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, bigram, byte_tokenizer, linear

FACTS = {"onnxruntime": "1", "device": "cpu"}


@pytest.fixture
def table(tmp_path: Path) -> ModelManifest:
    graph = linear(np.eye(2, dtype=np.float32), np.zeros(2, "f"))
    return a_model(ArtifactStore(tmp_path), graph, features=("a", "b"), labels=("x", "y")).manifest


@pytest.fixture
def writer(tmp_path: Path) -> ModelManifest:
    tokenizer = byte_tokenizer(["good bad"], vocabulary_size=270)
    graph = bigram(np.zeros((270, 270), np.float32))
    store = ArtifactStore(tmp_path)
    return a_model(store, graph, task="text-generation", tokenizer=tokenizer, context_length=8).manifest


def digest(
    manifest: ModelManifest, given: Any = None, *, facts: dict[str, str] | None = None, **parameters: Any
) -> str:
    return digest_of(manifest, given, InferenceParameters(**parameters), facts or FACTS)


def test_the_order_of_keys_does_not_count_and_every_value_does(table: ModelManifest) -> None:
    rows: list[Any] = [{"a": 1, "b": 2}, {"a": 1, "b": 2.5}, {"a": 2, "b": 1}, [1, 2], [[1, 2]], "1", None]

    assert digest(table, {"a": 1, "b": 2}) == digest(table, {"b": 2, "a": 1})
    assert len({digest(table, row) for row in rows}) == len(rows)


def test_another_file_other_labels_other_parameters_and_another_runtime_are_other_questions(
    table: ModelManifest,
) -> None:
    other_file = msgspec.structs.replace(table, onnx=msgspec.structs.replace(table.onnx, sha256="0" * 64))
    other_labels = msgspec.structs.replace(table, labels=("y", "x"))
    digests = {
        digest(table),
        digest(other_file),
        digest(other_labels),
        digest(table, top_k=1),
        digest(table, reproducible=True),
        digest(table, facts={**FACTS, "onnxruntime": "2"}),
        digest(table, facts={**FACTS, "device": "cuda"}),
    }

    assert len(digests) == 7


def test_the_seed_counts_where_the_task_draws_random_numbers(table: ModelManifest, writer: ModelManifest) -> None:
    assert digest(table, seed=1) == digest(table, seed=2) == digest(table)
    assert digest(writer, seed=1) != digest(writer, seed=2)
    assert digest(writer, seed=1, temperature=0.0) == digest(writer, seed=2, temperature=0.0)

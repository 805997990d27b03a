"""Models out of packages answer through a real gateway, Redis and worker as in their own package.

They are models of the task tensors: magika tells the type of a file, silero-vad hears speech in a stream and keeps a
state. The tests run with `-m references`.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from headrace import BadRequest
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_tensors import a_tensor_model
from tests.support.references import LONGEST_S, written_by
from tests.support.serving_processes import DEADLINE_S, ask, serving

RATE, CONTEXT = 16_000, 64
pytestmark = [pytest.mark.references, pytest.mark.timeout(LONGEST_S + 2 * DEADLINE_S)]


async def test_the_types_of_files_are_those_of_magika(redis_url: str, tmp_path: Path) -> None:
    folder = written_by("tests/references/magika_labels.py", tmp_path / "reference")
    expected = msgspec.json.decode((folder / "expected.json").read_bytes())
    model = a_tensor_model(ArtifactStore(tmp_path / "artifacts"), (folder / "model.onnx").read_bytes())

    async with serving(redis_url, tmp_path, model) as client:
        inputs = [{"bytes": [file["features"]]} for file in expected["files"]]
        answers = await ask(client, inputs)
        together = await ask(client, {"bytes": [file["features"] for file in expected["files"]]})
        with pytest.raises(BadRequest):
            await ask(client, {"bytes": [expected["files"][0]["features"][1:]]})

    for answer, file in zip(answers, expected["files"], strict=True):
        scores = np.array(answer["outputs"]["target_label"]["data"])
        assert expected["labels"][scores.argmax()] == file["label"], file["name"]
        assert scores.max() == pytest.approx(file["score"], abs=1e-5)
    assert together["outputs"]["target_label"]["shape"] == [len(inputs), len(expected["labels"])]
    assert len({file["label"] for file in expected["files"]}) == len(inputs)


async def test_a_stream_of_chunks_as_a_chain_of_jobs_is_heard_as_by_silero_vad(redis_url: str, tmp_path: Path) -> None:
    folder = written_by("tests/references/silero_chunks.py", tmp_path / "reference")
    model = a_tensor_model(ArtifactStore(tmp_path / "artifacts"), (folder / "model.onnx").read_bytes())
    with np.load(folder / "arrays.npz") as arrays:
        chunks, expected = arrays["chunks"], arrays["probabilities"]

    heard: list[float] = []
    state: object = {"shape": [2, 1, 128], "data": [0.0] * 256}
    before = np.zeros(CONTEXT, dtype=np.float32)
    async with serving(redis_url, tmp_path, model) as client:
        for chunk in chunks:
            answer = await ask(client, {"input": [[*before.tolist(), *chunk.tolist()]], "state": state, "sr": RATE})
            heard += answer["outputs"]["output"]["data"]
            state, before = answer["outputs"]["stateN"], chunk[-CONTEXT:]

    np.testing.assert_allclose(heard, expected, atol=1e-5)
    assert expected.max() > 0.9
    assert expected.min() < 0.1

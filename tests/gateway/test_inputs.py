"""An input that the model's manifest refuses is refused at the POST, and nothing else is."""

from typing import Any

import httpx
import msgspec
import pytest
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import parse_job_id
from shared_schemas.models import EmbeddingSpec, ImageSpec, ModelManifest, RerankSpec, TensorSpec
from shared_schemas.outcome import Failure
from shared_schemas.stream.schedule import Schedule

from tests.support.gateways import INFERENCE, TRAINING_BODY, Driver, a_manifest

CANARY = "0xDEADBEEF-secret"
FEATURES = ("size", "a/b ~c")


def tabular(features: tuple[str, ...] = FEATURES, dtype: str = "float64") -> ModelManifest:
    tensor = TensorSpec(name="features", dtype=dtype, shape=("batch", len(features)))  # type: ignore[arg-type]
    return msgspec.structs.replace(a_manifest(), features=features, inputs=(tensor,))


def texts() -> ModelManifest:
    tensor = TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length"))
    return msgspec.structs.replace(a_manifest(), task="text-classification", inputs=(tensor,), labels=("a", "b"))


def vectors(dimensions: int) -> ModelManifest:
    spec = EmbeddingSpec(dimensions=dimensions, pooling="mean", normalize=True)
    return msgspec.structs.replace(texts(), task="text-embedding", labels=(), embedding=spec)


def reranker() -> ModelManifest:
    return msgspec.structs.replace(texts(), task="rerank", labels=(), rerank=RerankSpec(activation="sigmoid"))


def images() -> ModelManifest:
    return msgspec.structs.replace(a_manifest(), task="image-classification", image=ImageSpec(height=2, width=2))


def tensors() -> ModelManifest:
    inputs = (
        TensorSpec(name="x", dtype="int8", shape=("n", 2)),
        TensorSpec(name="a/b ~c", dtype="float16", shape=("n",)),
        TensorSpec(name="flag", dtype="bool", shape=()),
    )
    return msgspec.structs.replace(a_manifest(), task="tensors", inputs=inputs)


MODELS = {
    "table": tabular(), "old": tabular(dtype="float32"), "text": texts(), "unnamed": a_manifest(), "raw": tensors(),
    "rank": reranker(),
    "image": images(),
}  # fmt: skip
RANK = {"query": "q", "documents": ["d", ""]}
RAW = {"x": [[1, 2]], "a/b ~c": [0.5], "flag": True}
A, B = "/input_data/size", "/input_data/a~1b ~0c"

REFUSED: list[tuple[str, str, Any, str]] = [
    ("no row", "table", CANARY, "/input_data"),
    ("null", "table", None, "/input_data"),
    ("empty list", "table", [], "/input_data"),
    ("too few numbers", "table", [1], "/input_data"),
    ("too many numbers", "table", [1, 2, 3], "/input_data"),
    ("missing feature", "table", {"size": 1}, B),
    ("unknown feature", "table", {"size": 1, "a/b ~c": 2, "other": 3}, "/input_data/other"),
    ("unknown feature of any name", "table", {"size": 1, "a/b ~c": 2, f"<{CANARY}>": 3}, "/input_data"),
    ("text for a number", "table", {"size": CANARY, "a/b ~c": 2}, A),
    ("null for a number", "table", {"size": 1, "a/b ~c": None}, B),
    ("boolean for a number", "table", [True, 2], "/input_data/0"),
    ("list for a number", "table", [[1, [2]]], "/input_data/0/1"),
    ("beyond float64", "table", {"size": 10**400, "a/b ~c": 2}, A),
    ("beyond float32", "old", {"size": 1e39, "a/b ~c": 2}, A),
    ("each of a list", "table", [{"size": 1}, [1], 7], "/input_data/0/a~1b ~0c"),
    ("number for a text", "text", 5, "/input_data"),
    ("object for a text", "text", {"text": CANARY}, "/input_data"),
    ("no text in a list", "text", [5, None], "/input_data/0"),
    ("no text at all", "text", [], "/input_data"),
    ("no image", "image", None, "/input_data"),
    ("an empty image", "image", "", "/input_data"),
    ("an image that is no base64", "image", {"image": f"{CANARY}!"}, "/input_data/image"),
    ("base64 for URLs", "image", "_-8=", "/input_data"),
    ("base64 without its padding", "image", "aGVsbG8", "/input_data"),
    ("base64 in lines", "image", "aGVs\nbG8=", "/input_data"),
    ("a number for an image", "image", {"image": 5}, "/input_data/image"),
    ("a field that no image has", "image", {"image": "aGVsbG8=", CANARY: 1}, "/input_data"),
    ("each image of a list", "image", [{"image": "x"}, 7], "/input_data/0/image"),
    ("no query", "rank", {"documents": ["d"]}, "/input_data/query"),
    ("an empty query", "rank", RANK | {"query": ""}, "/input_data/query"),
    ("a text for documents", "rank", RANK | {"documents": CANARY}, "/input_data/documents"),
    ("no documents", "rank", RANK | {"documents": []}, "/input_data/documents"),
    ("too many documents", "rank", RANK | {"documents": [""] * 10_001}, "/input_data/documents"),
    ("a document that is no text", "rank", RANK | {"documents": ["d", {"text": CANARY}]}, "/input_data/documents/1"),
    ("no best document", "rank", RANK | {"top_n": 0}, "/input_data/top_n"),
    ("a boolean for a number of documents", "rank", RANK | {"top_n": True}, "/input_data/top_n"),
    ("a field that no ranking has", "rank", RANK | {CANARY: 1}, "/input_data"),
    ("a text for a ranking", "rank", CANARY, "/input_data"),
    ("each ranking of a list", "rank", [RANK | {"query": 1}, 7], "/input_data/0/query"),
    ("no tensors", "raw", CANARY, "/input_data"),
    ("no input of tensors", "raw", [], "/input_data"),
    ("missing tensor", "raw", {"x": [[1, 2]], "a/b ~c": [0.5]}, "/input_data/flag"),
    ("unknown tensor", "raw", {**RAW, CANARY: 1}, "/input_data"),
    ("another shape", "raw", {**RAW, "x": [[1, 2, 3]]}, "/input_data/x"),
    ("another rank", "raw", {**RAW, "x": [1, 2]}, "/input_data/x"),
    ("ragged", "raw", {**RAW, "x": [[1, 2], [3]]}, "/input_data/x/1"),
    ("sizes of one name", "raw", {**RAW, "x": [[1, 2], [3, 4]]}, "/input_data/a~1b ~0c"),
    ("beyond int8", "raw", {**RAW, "x": [[1, 128]]}, "/input_data/x/0/1"),
    ("beyond 64 bits", "raw", {**RAW, "x": [[1, 10**30]]}, "/input_data/x/0/1"),
    ("fraction for an integer", "raw", {**RAW, "x": [[1, 1.5]]}, "/input_data/x/0/1"),
    ("whole float for an integer", "raw", {**RAW, "x": [[1, 1.0]]}, "/input_data/x/0/1"),
    ("beyond float16", "raw", {**RAW, "a/b ~c": [65505]}, "/input_data/a~1b ~0c/0"),
    ("text for a float", "raw", {**RAW, "a/b ~c": [CANARY]}, "/input_data/a~1b ~0c/0"),
    ("integer for a boolean", "raw", {**RAW, "flag": 1}, "/input_data/flag"),
    ("data that does not fill its shape", "raw", {**RAW, "x": {"shape": [1, 2], "data": [1]}}, "/input_data/x/data"),
    ("each of a list of tensors", "raw", [{"x": 1}, 5], "/input_data/0/a~1b ~0c"),
]
TAKEN: list[tuple[str, str, Any]] = [
    ("names", "table", {"a/b ~c": 1e300, "size": 1}),
    ("order", "table", [1, 2.5]),
    ("many", "table", [[1, 2], {"size": 1, "a/b ~c": 2}]),
    ("one of a list can be used", "table", [{"size": CANARY}, [1, 2]]),
    ("largest float32", "old", [3.4e38, 1]),
    ("text", "text", ""),
    ("texts", "text", [5, "a"]),
    ("no names of features", "unnamed", "whatever"),
    ("tensors", "raw", RAW),
    ("no rows", "raw", {"x": {"shape": [0, 2], "data": []}, "a/b ~c": [], "flag": False}),
    ("not finite", "raw", {**RAW, "a/b ~c": ["NaN"]}),
    ("one of a list of tensors can be used", "raw", [{"x": 1}, RAW]),
]


@pytest.fixture
async def published(drive: Driver) -> None:
    for name, manifest in MODELS.items():
        await drive.publish(name, manifest=manifest)


@pytest.mark.parametrize(
    ("model", "data", "pointer"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_what_the_manifest_refuses_is_refused_with_a_pointer(
    published: None, http: httpx.AsyncClient, drive: Driver, model: str, data: Any, pointer: str
) -> None:
    before, body = await drive.count_jobs(), {"model_id": model, "input_data": data}
    good = {
        "model_id": model,
        "input_data": {"text": "text", "raw": RAW, "rank": RANK, "image": "aGVsbG8="}.get(model, [1, 2]),
    }

    alone = await http.post("/jobs/inference", json=body)
    third = await http.post("/jobs/inference", json=[good, good, body])

    for answer, prefix in ((alone, ""), (third, "/2")):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert [item["pointer"] for item in answer.json()["errors"]] == [prefix + pointer]
        assert CANARY not in answer.text
    assert await drive.count_jobs() == before


@pytest.mark.parametrize(("model", "data"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
async def test_what_may_have_an_answer_is_taken(
    published: None, http: httpx.AsyncClient, model: str, data: Any
) -> None:
    for _ in range(2):
        answer = await http.post("/jobs/inference", json={"model_id": model, "input_data": data})
        assert answer.status_code == 202, answer.text


async def test_more_dimensions_than_a_vector_has_are_refused(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish("vectors", manifest=vectors(3))
    await drive.publish("texts", manifest=texts())
    answers = {}
    for model, dimensions in (("vectors", 3), ("vectors", 4), ("vectors", None), ("texts", 4)):
        parameters = {} if dimensions is None else {"dimensions": dimensions}
        body = {"model_id": model, "input_data": "x", "parameters": parameters}
        for _ in range(2):
            answers[model, dimensions] = await http.post("/jobs/inference", json=body)

    refused = answers.pop(("vectors", 4))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert [item["pointer"] for item in refused.json()["errors"]] == ["/parameters/dimensions"]
    assert [answer.status_code for answer in answers.values()] == [202] * 3


async def test_an_aggregation_that_does_not_exist_is_refused(published: None, http: httpx.AsyncClient) -> None:
    body = {"model_id": "text", "input_data": "x", "parameters": {"aggregation": CANARY}}

    answer = await http.post("/jobs/inference", json=body)

    assert answer.status_code == 422
    assert [item["pointer"] for item in answer.json()["errors"]] == ["/parameters/aggregation"]
    assert CANARY not in answer.text


async def test_a_version_is_checked_by_its_own_manifest(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish("m", manifest=tabular(("a",)))
    await drive.publish("m", manifest=tabular(("a", "b")))
    statuses = []
    for model_id in ("m", "m@1", "m@2", "m@1"):
        statuses.append(
            (await http.post("/jobs/inference", json={"model_id": model_id, "input_data": [1]})).status_code
        )

    assert statuses == [422, 202, 422, 202]


async def test_a_store_that_was_emptied_is_not_held_to_what_stood_there(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish("m", manifest=tabular(("a",)))
    assert (await http.post("/jobs/inference", json={"model_id": "m@1", "input_data": [1]})).status_code == 202
    await drive.client.flushall()
    await drive.publish("m", manifest=tabular(("a", "b")))

    answer = await http.post("/jobs/inference", json={"model_id": "m@1", "input_data": [1, 2]})

    assert answer.status_code == 202


async def test_what_cannot_be_known_yet_is_left_to_the_worker(http: httpx.AsyncClient, drive: Driver) -> None:
    training = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    body = {"model_id": training, "input_data": 5, "depends_on": [training]}

    assert (await http.post("/jobs/inference", json=body)).status_code == 202


@pytest.mark.parametrize("verb", ["retry", "replay"])
async def test_a_job_that_was_accepted_before_may_end_again_as_it_did(
    published: None, http: httpx.AsyncClient, drive: Driver, verb: str
) -> None:
    training = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    body = {"model_id": training, "input_data": 5, "depends_on": [training]}
    job_id = parse_job_id((await http.post("/jobs/inference", json=body)).json()["job_id"])
    await drive.publish("late", by=parse_job_id(training), manifest=texts())
    await drive.registry.publish_settled()
    await Schedule(drive.nodes, INFERENCE).promote()
    await drive.finish(job_id, Failure(ErrorInfo(code="invalid_input", message="this model takes a text")))

    answer = await http.post(f"/jobs/{job_id}/{verb}")

    assert answer.status_code == 202

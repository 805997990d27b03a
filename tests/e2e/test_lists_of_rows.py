"""A job with a list of rows, through a real gateway, Redis and worker: each number arrives as it was sent, and every
reader of the job sees the same."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import redis
from onnx import TensorProto, helper
from shared_schemas.ids import JobId
from shared_schemas.models import TensorSpec
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream import keys

from tests.support.gateways import driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_models import a_model
from tests.support.onnx_tensors import graph

# As a client may write them, with what they are.
NUMBERS: list[tuple[str, int | float]] = [
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("18446744073709551615", 2**64 - 1),
    ("9007199254740993", 2**53 + 1),
    ("100000000000000000000000000000", 10**29),
    ("1e-320", 1e-320),
    ("4.9E-324", 5e-324),
    ("-0.0", -0.0),
    ("0", 0),
    ("-0", 0),
    ("0.1000", 0.1),
    ("0.30000000000000004", 0.30000000000000004),
    ("1.7976931348623157e+308", 1.7976931348623157e308),
    ("-123456789012345.67", -123456789012345.67),
    ("1e2", 100.0),
    ("5", 5),
    ("5.0", 5.0),
]
ROWS = " ,\n".join(f"[ {text},1 ]" for text, _ in NUMBERS)
BODY = f'{{"input_data" : [{ROWS}], "model_id": "model"}}'
WAIT = {"Prefer": "wait=60", "Content-Type": "application/json"}


def first_feature() -> bytes:
    """features [batch, 2] -> prediction [batch]: the first feature, as it is."""
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Constant", [], ["first"], value_int=0),
        helper.make_node("Gather", ["features", "first"], ["prediction"], axis=1),
    ]
    inputs = [make("features", TensorProto.DOUBLE, ["batch", 2])]
    return graph(nodes, inputs, [make("prediction", TensorProto.DOUBLE, ["batch"])])


@asynccontextmanager
async def serving(redis_url: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = ArtifactStore(folder / "artifacts")
    model = a_model(store, first_feature(), task="tabular-regression", features=("a", "b/c"))
    inputs = (TensorSpec(name="features", dtype="float64", shape=("batch", 2)),)
    async with driver(redis_url) as drive:
        await drive.publish("model", manifest=msgspec.structs.replace(model.manifest, inputs=inputs))
    with running_gateway(redis_url, folder) as gateway, inference_process(redis_url, folder / "artifacts"):
        async with httpx.AsyncClient(base_url=gateway.url, timeout=90) as http:
            yield http


async def test_unusual_numbers_are_the_same_for_every_reader(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path) as http:
        waited = await http.post("/jobs/inference", content=BODY, headers=WAIT)
        job_id = JobId(waited.json()["job_id"])
        read = await http.get(f"/jobs/{job_id}")
        again = (await http.post(f"/jobs/{job_id}/replay", headers=WAIT)).json()["job_id"]
        async with http.stream("GET", f"/jobs/{again}/events") as events:
            await events.aread()
        replayed = await http.get(f"/jobs/{again}")
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        stored = client.hget(keys.job(job_id), "spec")

    assert waited.status_code == 200
    assert waited.content == read.content
    text = b"[%s]" % b",".join(b"[%s,1]" % msgspec.json.encode(value) for _, value in NUMBERS)
    assert b'"input_data":%s' % text in read.content
    assert b'"input_data":%s' % text in stored
    assert b'"input_data":%s' % text in replayed.content
    assert replayed.json()["replay"]["identical"] is True
    predictions = [answer["prediction"] for answer in read.json()["result"]]
    assert predictions == [float(value) for _, value in NUMBERS]
    assert [math.copysign(1, prediction) for prediction in predictions[7:10]] == [-1, 1, 1]


async def test_a_key_knows_the_numbers_and_not_how_they_were_written(redis_url: str, tmp_path: Path) -> None:
    async with serving(redis_url, tmp_path) as http:

        async def post(content: str) -> httpx.Response:
            return await http.post("/jobs/inference", content=content, headers=WAIT | {"Idempotency-Key": "k"})

        first = await post(BODY)
        compact = await post(msgspec.json.encode(msgspec.json.decode(BODY)).decode())
        other = await post(BODY.replace("-0.0", "0.0"))
        integer = await post(BODY.replace("5.0", "5"))

    assert compact.json()["job_id"] == first.json()["job_id"]
    assert compact.headers["Idempotency-Replayed"] == "true"
    assert [answer.json()["code"] for answer in (other, integer)] == ["idempotency_key_reused"] * 2


WRONG = [
    ("[1]", "this model takes 2 numbers, 1 were given", ""),
    ("[1, 2, 3]", "this model takes 2 numbers, 3 were given", ""),
    ("[1, null]", "the feature 'b/c' is not a number", "/1"),
    ("[true, 1]", "the feature 'a' is not a number", "/0"),
    ('["1", 1]', "the feature 'a' is not a number", "/0"),
    ("[1, [1]]", "the feature 'b/c' is not a number", "/1"),
    (f"[1, {10**400}]", "the feature 'b/c' does not fit into 64 bits", "/1"),
    ('{"a": 1}', "the feature 'b/c' is missing", "/b~1c"),
]


async def test_wrong_rows_deep_in_a_list_have_their_errors_in_their_places(redis_url: str, tmp_path: Path) -> None:
    rows = [f"[{i}, 0.5]" for i in range(400)]
    rows[300 : 300 + len(WRONG)] = [wrong for wrong, _, _ in WRONG]

    async with serving(redis_url, tmp_path) as http:

        async def post(rows: list[str]) -> httpx.Response:
            content = f'{{"model_id": "model", "input_data": [{",".join(rows)}]}}'
            return await http.post("/jobs/inference", content=content, headers=WAIT)

        long = (await post(rows)).json()["result"]
        refused = [await post([wrong, wrong]) for wrong, _, _ in WRONG]

    assert [one["error"]["message"] for one in long if "error" in one] == [message for _, message, _ in WRONG]
    predictions = {place: one["prediction"] for place, one in enumerate(long) if "error" not in one}
    assert predictions == {place: place for place in range(400) if not 300 <= place < 300 + len(WRONG)}
    assert [answer.status_code for answer in refused] == [422] * len(WRONG)
    pointers = [answer.json()["errors"][0]["pointer"] for answer in refused]
    assert pointers == [f"/input_data/0{within}" for _, _, within in WRONG]

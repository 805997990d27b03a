"""What people and their tools do by habit is taken as they mean it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from shared_schemas.specs import InferenceSpec, TrainingSpec

from tests.support.gateways import MODEL, TRAINING_BODY, Driver, Gateway, running_gateway
from tests.support.redis_server import RedisServer

JSON = {"Content-Type": "application/json"}
INFERENCE_BODY = {"model_id": MODEL, "input_data": [3, 2024]}
OPTIONAL = [
    "kind", "queue", "priority", "run_at", "timeout_s", "start_deadline_s", "retry", "result_ttl_s", "tags", "metadata",
    "depends_on",
]  # fmt: skip
TRAINING_ONLY = [
    "task", "text_column", "label_column", "feature_columns", "validation_path", "hyperparameters", "seed",
    "output_model", "resume_from",
]  # fmt: skip

NULLS: list[tuple[str, dict[str, Any]]] = [
    *(("inference", {name: None}) for name in [*OPTIONAL, "parameters"]),
    *(("training", {name: None}) for name in [*OPTIONAL, *TRAINING_ONLY]),
    *(("inference", {"parameters": {name: None}}) for name in ["temperature", "top_k", "max_tokens", "seed", "stop"]),
    *(("inference", {"retry": {name: None}}) for name in ["max_attempts", "backoff_s", "max_backoff_s"]),
    *(("training", {"hyperparameters": {name: None}}) for name in ["epochs", "learning_rate", "width"]),
    ("training", dict.fromkeys([*OPTIONAL, *TRAINING_ONLY])),
]
WHOLE: list[tuple[str, dict[str, Any], list[str]]] = [
    # kind, fields, where the number stands in the stored spec
    ("training", {"hyperparameters": {"epochs": 5.0}}, ["hyperparameters", "epochs"]),
    ("training", {"hyperparameters": {"width": 1e2}}, ["hyperparameters", "width"]),
    ("training", {"seed": 7.0}, ["seed"]),
    ("training", {"retry": {"max_attempts": 2.0}}, ["retry", "max_attempts"]),
    ("inference", {"parameters": {"max_tokens": 3.0}}, ["parameters", "max_tokens"]),
    ("inference", {"parameters": {"seed": 0.0}}, ["parameters", "seed"]),
]
WAITS: list[tuple[list[str], int]] = [
    # lines of Prefer, s that the answer may be held
    (["wait=1"], 1),
    (["respond-async", "wait=1"], 1),
    (["wait=1", "respond-async"], 1),
    (["respond-async, wait=1"], 1),
    (["Wait = 1"], 1),
    (['wait="1"'], 1),
    (["wait=1; x=y"], 1),
    (['return=minimal; note="a, wait=0", wait=1'], 1),
    (["wait=1, wait=60"], 1),
    (["wait=1", "wait=60"], 1),
    (["unknown", "", "wait=1"], 1),
    (["wait=01"], 1),
    (["wait=0"], 0),
    (["wait=-1"], 0),
    (["wait=1.5"], 0),
    (["wait=soon"], 0),
    (['note="wait=1"'], 0),
    (['"wait=1"'], 0),
    (["wait1"], 0),
    (["x-wait=1"], 0),
    (['unclosed="a, wait=1'], 0),
]
GETS = ["/healthz", "/readyz", "/metrics", "/jobs", "/queues", "/workers", "/models", "/dead-letters", "/docs",
        "/openapi.json", "/events"]  # fmt: skip
ALLOWED: list[tuple[str, str]] = [
    ("/jobs/inference", "OPTIONS, POST"),
    ("/jobs/training", "OPTIONS, POST"),
    ("/jobs", "GET, HEAD, OPTIONS"),
    ("/jobs/x/events", "GET, HEAD, OPTIONS"),
    ("/jobs/x/cancel", "OPTIONS, POST"),
    ("/models/a/aliases/b", "DELETE, OPTIONS, PUT"),
    ("/events", "GET, HEAD, OPTIONS"),
    ("/docs", "GET, HEAD, OPTIONS"),
    ("/openapi.json", "GET, HEAD, OPTIONS"),
    ("/static-offline-docs/swagger-ui.css", "GET, HEAD, OPTIONS"),
    ("/jobs/", "GET, HEAD, OPTIONS"),
]


@pytest.fixture
async def served(http: httpx.AsyncClient, drive: Driver) -> httpx.AsyncClient:
    """With a model that can be asked."""
    await drive.publish()
    return http


def named(row: tuple[str, Any, Any] | tuple[str, Any]) -> str:
    return f"{row[0]} {json.dumps(row[1])}"[:80]


@pytest.mark.parametrize("row", NULLS, ids=named)
async def test_null_is_not_given_for_every_optional_field(
    served: httpx.AsyncClient, row: tuple[str, dict[str, Any]]
) -> None:
    kind, fields = row
    body = TRAINING_BODY if kind == "training" else INFERENCE_BODY

    one = await served.post(f"/jobs/{kind}", json={**body, **fields})
    many = await served.post(f"/jobs/{kind}", json=[body, {**body, **fields}])

    assert (one.status_code, many.status_code) == (202, 202), (one.text, many.text)
    plain = (await served.get(f"/jobs/{many.json()['jobs'][0]['job_id']}")).json()["spec"]
    given = (await served.get(f"/jobs/{many.json()['jobs'][1]['job_id']}")).json()["spec"]
    assert without_seed(given) == without_seed(plain)


def without_seed(spec: Any) -> TrainingSpec | InferenceSpec:
    """One is drawn for each job, and nothing else is."""
    read = msgspec.convert(spec, TrainingSpec | InferenceSpec)
    if isinstance(read, TrainingSpec):
        return msgspec.structs.replace(read, seed=None)
    return msgspec.structs.replace(read, parameters=msgspec.structs.replace(read.parameters, seed=None))


async def test_null_within_the_input_of_a_model_stays(served: httpx.AsyncClient) -> None:
    body = {"model_id": MODEL, "input_data": {"a": None, "b": [None, 5.0]}, "priority": None}

    job = (await served.post("/jobs/inference", json=body)).json()

    stored = (await served.get(f"/jobs/{job['job_id']}")).json()["spec"]["input_data"]
    assert json.dumps(stored) == '{"a": null, "b": [null, 5.0]}'


@pytest.mark.parametrize("row", WHOLE, ids=named)
async def test_a_whole_number_may_be_written_with_a_point(
    served: httpx.AsyncClient, row: tuple[str, dict[str, Any], list[str]]
) -> None:
    kind, fields, path = row
    body = TRAINING_BODY if kind == "training" else INFERENCE_BODY

    answer = await served.post(f"/jobs/{kind}", json={**body, **fields})

    assert answer.status_code == 202, answer.text
    found: Any = (await served.get(f"/jobs/{answer.json()['job_id']}")).json()["spec"]
    given: Any = fields
    for step in path:
        found, given = found[step], given[step]
    assert (found, type(found)) == (given, int)


async def test_the_body_of_a_selection_and_of_an_alias_is_read_alike(served: httpx.AsyncClient) -> None:
    selection = {"queue": "training", "kind": None, "code": None, "all": None, "limit": 5.0, "cursor": None}

    assert (await served.post("/dead-letters/retry", json=selection)).status_code == 200
    assert (await served.put(f"/models/{MODEL}/aliases/prod", json={"version": 1.0})).status_code == 200
    assert (await served.put(f"/models/{MODEL}/aliases/prod", json={"version": 10**30})).status_code == 422


async def test_a_model_that_is_asked_for_by_a_version_beyond_all_is_not_found(served: httpx.AsyncClient) -> None:
    answer = await served.post("/jobs/inference", json={**INFERENCE_BODY, "model_id": f"{MODEL}@1{'0' * 30}"})

    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


async def test_a_byte_order_mark_before_json_is_passed_over(served: httpx.AsyncClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(INFERENCE_BODY).encode()

    assert (await served.post("/jobs/inference", content=body, headers=JSON)).status_code == 202


@pytest.mark.parametrize(("lines", "wait_s"), WAITS, ids=[" | ".join(row[0]) for row in WAITS])
async def test_prefer_is_read_as_its_rfc_has_it(http: httpx.AsyncClient, lines: list[str], wait_s: int) -> None:
    answer = await http.post(
        "/jobs/training", json=TRAINING_BODY, headers=[*(("Prefer", line) for line in lines)]
    )  # fmt: skip

    assert answer.status_code == 202
    assert answer.headers.get("preference-applied") == (f"wait={wait_s}" if wait_s else None)


@pytest.mark.parametrize("path", GETS)
async def test_head_is_answered_as_get_is_without_the_body(http: httpx.AsyncClient, path: str) -> None:
    async with http.stream("GET", path) as got:
        headers = dict(got.headers)
    head = await http.head(path)

    assert (head.status_code, head.content) == (200, b"")
    changing = {"x-request-id", "date", "transfer-encoding", *(["content-length"] if path == "/metrics" else [])}
    assert {name for name in headers if name not in changing} <= set(head.headers)
    for name in set(headers) - changing:
        assert head.headers[name] == headers[name], name


async def test_head_of_a_stream_leaves_no_stream_open(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    before = await open_streams(http)

    head = await http.head(f"/jobs/{job_id}/events")

    assert head.headers["content-type"].startswith("text/event-stream")
    assert await open_streams(http) == before


async def open_streams(http: httpx.AsyncClient) -> float:
    text = (await http.get("/metrics")).text
    [line] = [line for line in text.splitlines() if line.startswith("headrace_event_streams_open ")]
    return float(line.split()[1])


async def test_head_of_what_is_not_there_says_so(http: httpx.AsyncClient) -> None:
    assert (await http.head("/nowhere")).status_code == 404
    assert (await http.head("/jobs/x")).status_code == 404
    refused = await http.head("/jobs/x/cancel")
    assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_options_and_a_405_name_all_methods_of_a_path(http: httpx.AsyncClient, path: str, allow: str) -> None:
    options, refused = await http.options(path), await http.request("PATCH", path)

    assert (options.status_code, options.content, options.headers["allow"]) == (204, b"", allow)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)
    assert refused.headers["content-type"] == "application/problem+json"


async def test_options_of_no_path_is_not_found(http: httpx.AsyncClient) -> None:
    assert (await http.options("/nowhere")).status_code == 404


@pytest.mark.parametrize("path", ["/jobs/inference/", "/jobs/training/"])
async def test_a_slash_at_the_end_makes_no_difference_to_a_submission(served: httpx.AsyncClient, path: str) -> None:
    body = TRAINING_BODY if "training" in path else INFERENCE_BODY

    answer = await served.post(path, json=body, headers={"Host": "localhost", "X-Forwarded-Proto": "https"})

    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["/jobs/", "/healthz/", "/queues/", "/docs/", "/models/", "/nowhere/"])
async def test_nobody_is_sent_elsewhere_for_a_slash(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == (404 if path == "/nowhere/" else 200)


@pytest.fixture(scope="module")
def page_gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(shared_redis.url, folder, cors_origins="https://page.test") as gateway:
        yield gateway


@pytest.mark.parametrize(
    "name",
    ["cache-control", "last-event-id", "authorization", "idempotency-key", "prefer", "content-type", "accept",
     "x-request-id", "x-requested-with", "traceparent", "cache-control,last-event-id"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_page_may_send_what_its_libraries_add(page_gateway: Gateway, method: str, name: str) -> None:
    asked = {
        "Origin": "https://page.test",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": name,
    }
    async with page_gateway.client() as client:
        answer = await client.options("/jobs/x/events", headers=asked)
        refused = await client.options("/jobs/x/events", headers={**asked, "Origin": "https://other.test"})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://page.test")
    assert set(name.split(",")) <= {
        one.strip().lower() for one in answer.headers["access-control-allow-headers"].split(",")
    }
    assert "access-control-allow-origin" not in refused.headers
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["code"] == "cors_refused"
    assert "other.test" not in refused.text


async def test_a_page_may_read_what_it_acts_by(page_gateway: Gateway) -> None:
    async with page_gateway.client() as client:
        answer = await client.get("/nowhere", headers={"Origin": "https://page.test"})

    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"retry-after", "location", "preference-applied", "idempotency-replayed", "x-request-id"} <= exposed

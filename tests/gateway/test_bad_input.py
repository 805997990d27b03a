"""What cannot be right is refused with a problem that tells where, repeats nothing, and leaves nothing behind."""

import gzip
import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateways import DEADLINE_S, TRAINING_BODY, Driver, Gateway, running_gateway

CANARY = "canary-7f3a"
UNKNOWN = "training-01arz3ndektsv4rrffq69g5fav"
JSON = {"Content-Type": "application/json"}
PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def training(**fields: Any) -> bytes:
    return json.dumps({**TRAINING_BODY, **fields}).encode()


def hyper(**fields: Any) -> bytes:
    return training(hyperparameters=fields)


BODIES: list[tuple[str, bytes, int, str, str | None]] = [
    # name, body, status, code of the problem, pointer of its item
    ("empty", b"", 400, "malformed_body", None),
    ("blank", b" \n", 400, "malformed_body", None),
    ("null", b"null", 422, "invalid_body", ""),
    ("list", b"[]", 422, "invalid_body", ""),
    ("string", b'"canary-7f3a"', 422, "invalid_body", ""),
    ("number", b"123", 422, "invalid_body", ""),
    ("truncated", training()[:-1], 400, "malformed_json", None),
    ("trailing comma", b'{"model_type":"mlp","data_path":"canary-7f3a",}', 400, "malformed_json", None),
    ("two documents", training() * 2, 400, "malformed_json", None),
    ("comment", training() + b" // canary-7f3a", 400, "malformed_json", None),
    ("byte order mark alone", b"\xef\xbb\xbf", 400, "malformed_body", None),
    ("byte order mark twice", b"\xef\xbb\xbf" * 2 + training(), 400, "malformed_json", None),
    ("UTF-16", training().decode().encode("utf-16"), 400, "malformed_json", None),
    ("lone 0xFF", b'{"model_type":"\xff"}', 400, "malformed_json", None),
    ("overlong", b'{"model_type":"\xc0\xaf"}', 400, "malformed_json", None),
    ("half a surrogate", b'{"model_type":"mlp","data_path":"a\\ud800.csv"}', 400, "malformed_json", None),
    ("NaN", b'{"model_type":"mlp","data_path":"a","timeout_s":NaN}', 400, "malformed_json", None),
    ("Infinity", b'{"model_type":"mlp","data_path":"a","timeout_s":Infinity}', 400, "malformed_json", None),
    ("huge number", b'{"model_type":"mlp","data_path":"a","timeout_s":1e999}', 422, "invalid_body", "/timeout_s"),
    ("deep nesting", b'{"hyperparameters":' + b"[" * 200_000, 400, "malformed_json", None),
    ("truncated behind what does not fit", b'{"model_type":5,"data_path":"canary-7f3a', 400, "malformed_json", None),
    ("unknown field", training(**{CANARY: 1}), 422, "invalid_body", f"/{CANARY}"),
    ("unknown field with a strange name", training(**{"<canary-7f3a>": 1}), 422, "invalid_body", "/?"),
    ("dunder", training(__proto__={}), 422, "invalid_body", "/__proto__"),
    ("wrong case", training(Seed=1), 422, "invalid_body", "/Seed"),
    ("another kind", training(kind="inference"), 422, "invalid_body", "/kind"),
    ("no data_path", b'{"model_type":"mlp"}', 422, "invalid_body", "/data_path"),
    ("bool for int", training(seed=True), 422, "invalid_body", "/seed"),
    ("text for int", training(seed="5"), 422, "invalid_body", "/seed"),
    ("fraction for int", training(seed=5.5), 422, "invalid_body", "/seed"),
    ("int for text", training(data_path=5), 422, "invalid_body", "/data_path"),
    ("epochs 0", hyper(epochs=0), 422, "invalid_body", "/hyperparameters/epochs"),
    ("epochs -1", hyper(epochs=-1), 422, "invalid_body", "/hyperparameters/epochs"),
    ("epochs 10^9", hyper(epochs=10**9), 422, "invalid_body", "/hyperparameters/epochs"),
    ("epochs 10^30", hyper(epochs=10**30), 422, "invalid_body", "/hyperparameters/epochs"),
    ("rate 0", hyper(learning_rate=0), 422, "invalid_body", "/hyperparameters/learning_rate"),
    ("rate NaN as text", hyper(learning_rate="NaN"), 422, "invalid_body", "/hyperparameters/learning_rate"),
    ("batch 2^31", hyper(batch_size=2**31), 422, "invalid_body", "/hyperparameters/batch_size"),
    ("seed 2^53", training(seed=2**53), 422, "invalid_body", "/seed"),
    ("seed 2^53 as a float", training(seed=2.0**53), 422, "invalid_body", "/seed"),
    ("epochs 1e300", hyper(epochs=1e300), 422, "invalid_body", "/hyperparameters/epochs"),
    ("epochs 0.0", hyper(epochs=0.0), 422, "invalid_body", "/hyperparameters/epochs"),
    ("null for what is required", training(data_path=None), 422, "invalid_body", "/data_path"),
    ("null in a list", training(tags=[None]), 422, "invalid_body", "/tags/0"),
    ("null for what is unknown", training(**{CANARY: None}), 422, "invalid_body", f"/{CANARY}"),
    ("time without an offset", training(run_at="2030-01-01T00:00:00"), 422, "invalid_body", "/run_at"),
    ("time that is none", training(run_at=CANARY), 422, "invalid_body", "/run_at"),
    ("seventeen tags", training(tags=["a"] * 17), 422, "invalid_body", "/tags"),
    ("tag with a blank", training(tags=["a b"]), 422, "invalid_body", "/tags/0"),
    ("priority", training(priority=CANARY), 422, "invalid_body", "/priority"),
    ("queue of the other kind", training(queue="inference"), 422, "invalid_spec", "/queue"),
    ("queue with a brace", training(queue="training}{hr"), 422, "invalid_spec", "/queue"),
    ("parent that is no id", training(depends_on=[CANARY]), 422, "invalid_spec", "/depends_on/0"),
    ("parent that is unknown", training(depends_on=[UNKNOWN]), 422, "invalid_spec", "/depends_on/0"),
    ("resume from nothing", training(resume_from=UNKNOWN), 422, "invalid_spec", "/resume_from"),
]  # fmt: skip

PATHS = [
    "../../etc/passwd",
    "a/../../x",
    "..\\x",
    "..",
    ".",
    "a/",
    "a/.",
    "\x00",
    "a\nb",
    "a\x1b[31mb",
    "~/x",
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "\\\\host\\share",
]

HEADERS: list[tuple[str, list[tuple[str, str]], int, str]] = [
    ("no type", [], 415, "media_type_unsupported"),
    ("text/plain", [("Content-Type", "text/plain")], 415, "media_type_unsupported"),
    ("form", [("Content-Type", "application/x-www-form-urlencoded")], 415, "media_type_unsupported"),
    ("multipart", [("Content-Type", "multipart/form-data; boundary=x")], 415, "media_type_unsupported"),
    ("UTF-7", [("Content-Type", "application/json; charset=utf-7")], 415, "media_type_unsupported"),
    ("JSON in name only", [("Content-Type", "application/jsonp")], 415, "media_type_unsupported"),
    ("brotli", [*JSON.items(), ("Content-Encoding", "br")], 415, "encoding_unsupported"),
    ("empty key", [*JSON.items(), ("Idempotency-Key", "")], 400, "idempotency_key_invalid"),
    ("long key", [*JSON.items(), ("Idempotency-Key", "k" * 256)], 400, "idempotency_key_invalid"),
    ("key with a blank", [*JSON.items(), ("Idempotency-Key", "a b")], 400, "idempotency_key_invalid"),
    ("two keys", [*JSON.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400, "idempotency_key_invalid"),
]

REQUESTS: list[tuple[str, str, int, str]] = [
    ("GET", f"/{CANARY}", 404, "route_not_found"),
    ("DELETE", "/jobs", 405, "method_not_allowed"),
    ("TRACE", "/jobs", 405, "method_not_allowed"),
    ("GET", "/jobs/training/../../etc", 404, "route_not_found"),
    ("POST", f"/jobs/{UNKNOWN}", 405, "method_not_allowed"),
    ("GET", f"/jobs/{UNKNOWN}", 404, "job_not_found"),
    ("GET", f"/jobs/{CANARY}", 404, "job_not_found"),
    ("GET", "/jobs/%00", 404, "job_not_found"),
    ("GET", f"/jobs/{UNKNOWN}/status", 404, "job_not_found"),
    ("GET", f"/jobs/{UNKNOWN}/result", 404, "job_not_found"),
    ("GET", f"/jobs/{UNKNOWN}/events", 404, "job_not_found"),
    ("GET", f"/events?job={UNKNOWN}", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/cancel", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/pause", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/resume", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/retry", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/replay", 404, "job_not_found"),
    ("POST", f"/jobs/{UNKNOWN}/events", 405, "method_not_allowed"),
    ("GET", "/jobs?limit=0", 422, "invalid_parameter"),
    ("GET", "/jobs?limit=101", 422, "invalid_parameter"),
    ("GET", f"/jobs?limit={CANARY}", 422, "invalid_parameter"),
    ("GET", f"/jobs?kind={CANARY}", 422, "invalid_parameter"),
    ("GET", f"/jobs?status={CANARY}", 422, "invalid_parameter"),
    ("GET", f"/jobs?queue={CANARY}", 422, "invalid_parameter"),
    ("GET", "/jobs?tag=%22", 422, "invalid_parameter"),
    ("GET", f"/jobs?cursor={CANARY}", 422, "invalid_parameter"),
    ("GET", "/jobs?cursor=AAAA", 422, "invalid_parameter"),
    ("GET", "/jobs?cursor=%C3%BC", 422, "invalid_parameter"),
    ("GET", f"/jobs?{CANARY}=1", 422, "invalid_parameter"),
    ("GET", "/dead-letters?limit=-1", 422, "invalid_parameter"),
    ("GET", f"/events?after={CANARY}", 422, "invalid_parameter"),
    ("GET", "/events?after=training:1-1,1-1", 422, "invalid_parameter"),
    ("GET", f"/models/{CANARY}", 404, "model_not_found"),
    ("GET", "/models/a@1", 404, "model_not_found"),
    ("GET", "/models/UPPER", 404, "model_not_found"),
    ("GET", f"/models/{CANARY}/versions/1", 404, "model_not_found"),
    ("GET", f"/models/{CANARY}/versions/%20", 404, "model_not_found"),
    ("GET", f"/queues/training-{CANARY}", 404, "queue_not_found"),
    ("GET", "/queues/x", 404, "queue_not_found"),
    # Digits that are not ASCII, and numbers without a bound.
    ("GET", "/events?after=inference:%D9%A1-%D9%A1", 422, "invalid_parameter"),
    ("GET", "/events?after=inference:%EF%BC%91-0", 422, "invalid_parameter"),
    ("GET", f"/events?after=inference:{'9' * 40}-0", 422, "invalid_parameter"),
    ("GET", f"/events?job={UNKNOWN}&after={UNKNOWN}:%D9%A1", 422, "invalid_parameter"),
    ("GET", f"/events?job={UNKNOWN}&after={UNKNOWN}:{'9' * 13}", 422, "invalid_parameter"),
    ("GET", "/jobs?limit=%D9%A1", 422, "invalid_parameter"),
    ("GET", "/jobs?limit=%EF%BC%95", 422, "invalid_parameter"),
    ("GET", "/jobs?limit=1_0", 422, "invalid_parameter"),
    ("GET", f"/jobs?limit={'9' * 40}", 422, "invalid_parameter"),
    ("GET", "/jobs?cursor=%D9%A1", 422, "invalid_parameter"),
    ("GET", f"/models/a/versions/1{'0' * 30}", 404, "model_not_found"),
    ("GET", f"/models/a/versions/1{'0' * 300}", 404, "model_not_found"),
    ("GET", "/models/a/versions/%D9%A1", 404, "model_not_found"),
    ("GET", "/models/a/versions/1%0A", 404, "model_not_found"),
]  # fmt: skip


def check(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """It is a problem as RFC 9457 has it, and repeats nothing that was sent but the names of fields."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = response.json()
    assert set(problem) >= PROBLEM_FIELDS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:headrace:problem:{code}"
    assert problem["request_id"] == response.headers["x-request-id"]
    shown = json.dumps({**problem, "errors": [{**item, "pointer": ""} for item in problem.get("errors", ())]})
    assert CANARY not in shown
    return problem


@pytest.mark.parametrize(("body", "status", "code", "pointer"), [row[1:] for row in BODIES], ids=[r[0] for r in BODIES])
async def test_a_bad_body_is_refused(
    http: httpx.AsyncClient, drive: Driver, body: bytes, status: int, code: str, pointer: str | None
) -> None:
    problem = check(await http.post("/jobs/training", content=body, headers=JSON), status, code)

    if pointer is not None:
        assert [item["pointer"] for item in problem["errors"]] == [pointer]
    assert await drive.count_jobs() == 0


TIME = "expected a time in the format of RFC 3339, with its offset from UTC, such as 2030-01-31T12:00:00Z"
RULES: list[tuple[dict[str, Any], str, str]] = [
    # field, code of the item, what its detail has
    ({"run_at": "2030-01-01T00:00:00"}, "invalid_format", TIME),
    ({"run_at": CANARY}, "invalid_format", TIME),
    ({"run_at": 5}, "wrong_type", "got `int`"),
    ({"model_type": f"Upper {CANARY}"}, "invalid_format", "matching regex '^[a-z0-9]"),
    ({"tags": ["a b"]}, "invalid_format", "matching regex"),
    ({"priority": CANARY}, "invalid_value", "not one of the allowed values: high, normal, low"),
    ({"task": CANARY}, "invalid_value", "classification, language-modeling, regression"),
    ({"kind": CANARY}, "invalid_value", "not one of the allowed values: training"),
    ({"seed": -1}, "out_of_range", ">= 0"),
    ({"data_path": ""}, "out_of_range", "of length >= 1"),
]


@pytest.mark.parametrize(("fields", "code", "detail"), RULES, ids=[f"{row[0]}" for row in RULES])
async def test_the_problem_names_the_rule_that_was_broken(
    http: httpx.AsyncClient, fields: dict[str, Any], code: str, detail: str
) -> None:
    problem = check(
        await http.post("/jobs/training", content=training(**fields), headers=JSON), 422, "invalid_body"
    )  # fmt: skip

    [item] = problem["errors"]
    assert item["code"] == code
    assert detail in item["detail"]


async def test_a_query_lists_the_allowed_values_as_well(http: httpx.AsyncClient) -> None:
    problem = check(await http.get(f"/jobs?status={CANARY}"), 422, "invalid_parameter")

    assert "scheduled, queued, running" in problem["errors"][0]["detail"]


@pytest.mark.parametrize("field", ["data_path", "validation_path"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_path_outside_the_data_root_is_refused_alike(
    http: httpx.AsyncClient, drive: Driver, field: str, path: str
) -> None:
    response = await http.post("/jobs/training", content=training(**{field: path}), headers=JSON)

    problem = check(response, 422, "path_not_allowed")
    assert problem["errors"] == [
        {"pointer": f"/{field}", "code": "path_not_allowed", "detail": "a path names a file under the data root"}
    ]
    assert await drive.count_jobs() == 0


@pytest.mark.parametrize("path", ["train.csv", "/data/train.csv", "a/b.c/..d/e", "ünï/ко шка.csv", "./a.csv", "c:d"])
async def test_a_path_that_may_be_under_the_data_root_is_taken(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.post("/jobs/training", json={**TRAINING_BODY, "data_path": path})).status_code == 202


@pytest.mark.parametrize(("headers", "status", "code"), [row[1:] for row in HEADERS], ids=[r[0] for r in HEADERS])
async def test_a_bad_header_is_refused(
    http: httpx.AsyncClient, drive: Driver, headers: list[tuple[str, str]], status: int, code: str
) -> None:
    check(await http.post("/jobs/training", content=training(), headers=headers), status, code)

    assert await drive.count_jobs() == 0


@pytest.mark.parametrize(("method", "path", "status", "code"), REQUESTS, ids=[" ".join(r[:2]) for r in REQUESTS])
async def test_a_bad_request_is_refused(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await http.request(method, path)

    check(response, status, code)
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", ';charset="UTF-8"'])
async def test_json_in_utf8_is_taken_however_it_is_announced(http: httpx.AsyncClient, charset: str) -> None:
    headers = {"Content-Type": f"Application/JSON{charset}"}

    assert (await http.post("/jobs/training", content=training(), headers=headers)).status_code == 202


async def test_input_nested_beyond_any_use_is_refused(http: httpx.AsyncClient) -> None:
    body = b'{"model_id":"canary-7f3a","input_data":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

    check(await http.post("/jobs/inference", content=body, headers=JSON), 400, "malformed_json")


async def test_a_compressed_body_is_not_unpacked(http: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(1_000_000))

    check(
        await http.post("/jobs/training", content=bomb, headers={**JSON, "Content-Encoding": "gzip"}),
        415,
        "encoding_unsupported",
    )


async def test_a_body_of_one_mebibyte_is_read_and_one_byte_more_is_not(http: httpx.AsyncClient) -> None:
    fits = training().ljust(1_048_576)

    assert (await http.post("/jobs/training", content=fits, headers=JSON)).status_code == 202
    for size in (1, 1, 1, 100_000, 5_000_000):
        # The whole body is sent before the answer is read, so this shows that the connection is not reset meanwhile.
        check(await http.post("/jobs/training", content=fits + b" " * size, headers=JSON), 413, "body_too_large")


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(gateway: Gateway, redis_url: str) -> None:
    head = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    answer = exchange(gateway, head + b"Content-Length: 1048577\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_a_body_without_an_end_is_cut_at_the_limit(gateway: Gateway, redis_url: str) -> None:
    head = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    answer = exchange(gateway, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 17)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_never_comes_is_not_waited_for(redis_url: str, tmp_path: Path) -> None:
    head = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    with running_gateway(redis_url, tmp_path, body_timeout_s=0.5) as impatient:
        answer = exchange(impatient, head + b"Content-Length: 100\r\n\r\n{")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert re.search(rb"(?i)connection: close", answer)


@pytest.mark.parametrize(
    "length", [b"Content-Length: -1", b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: x"]
)
def test_a_length_that_cannot_be_right_ends_the_connection(gateway: Gateway, redis_url: str, length: bytes) -> None:
    head = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    assert exchange(gateway, head + length + b"\r\n\r\n{}").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("given", ["short", "x" * 65, "a b c d e", "../../etc/passwd"])
async def test_a_request_id_that_is_not_plain_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answered = (await http.get("/healthz", headers={"X-Request-ID": given})).headers["x-request-id"]

    assert re.fullmatch(r"[0-9a-f]{16}", answered)


async def test_a_plain_request_id_is_kept(http: httpx.AsyncClient) -> None:
    response = await http.get("/nowhere", headers={"X-Request-ID": "trace_0123-abc"})

    assert response.headers["x-request-id"] == response.json()["request_id"] == "trace_0123-abc"


async def test_nothing_in_the_log_is_an_error_or_was_sent_by_a_client(
    http: httpx.AsyncClient, gateway: Gateway
) -> None:
    await http.post("/jobs/training", content=training(data_path=f"../{CANARY}"), headers=JSON)
    await http.get(f"/{CANARY}?{CANARY}", headers={"Idempotency-Key": CANARY})

    lines = gateway.log()
    assert CANARY not in json.dumps(lines)
    assert [line for line in lines if line["level"] not in ("info", "warning")] == []


def exchange(gateway: Gateway, *parts: bytes) -> bytes:
    """Send bytes, and read to the end of the connection or of the first answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
            while chunk := connection.recv(65_536):
                answer += chunk
                if b"}" in answer:
                    break
        except ConnectionError:
            pass
        return answer

"""Inference requests as bytes: what is accepted beside what the stock client sends, and what is refused.

Every refusal is `{"error": "text"}`, and repeats nothing of the request.
"""

import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import pytest

from tests.support.gateways import Gateway

CANARY = "0xDEADBEEF-secret"
ROWS = "/v2/models/rows/infer"
ANY = "/v2/models/any-float32/infer"
MOST_BODY = 1_048_576


def one(**fields: Any) -> dict[str, Any]:
    """An input x of the model `rows`."""
    return {"name": "x", "shape": [1, 2], "datatype": "FP32"} | fields


def sent(http: httpx.Client, *inputs: Any, path: str = ROWS, **fields: Any) -> httpx.Response:
    return http.post(path, json={"inputs": inputs, **fields})


def in_binary(
    http: httpx.Client, *inputs: Any, blobs: bytes = b"", length: object = None, path: str = ROWS, **fields: Any
) -> httpx.Response:
    """length: the header; the true one if not given."""
    head = json.dumps({"inputs": inputs, **fields}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return http.post(path, content=head + blobs, headers=headers)


def blob(n_bytes: Any, **fields: Any) -> dict[str, Any]:
    return one(parameters={"binary_data_size": n_bytes}, **fields)


def check_refused(answer: httpx.Response, message: str = "", status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"]
    assert CANARY not in answer.text


@pytest.mark.parametrize("data", [[1, 2.5], [[1, 2.5]]])
def test_data_is_flat_or_nested(http: httpx.Client, data: Any) -> None:
    answer = sent(http, one(data=data), id="7")

    assert answer.status_code == 200
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]}
    assert answer.json() == {"model_name": "rows", "model_version": "1", "id": "7", "outputs": [output]}
    assert "inference-header-content-length" not in answer.headers


def test_fields_that_the_protocol_does_not_have_are_ignored(http: httpx.Client) -> None:
    answer = sent(
        http,
        one(data=[1, 2], parameters={"content_type": "np"}),
        model_name="rows",
        outputs=[{"name": "y", "parameters": {"own": 1}}],
        parameters={"own": [1], "headers": {}},
    )

    assert answer.json()["outputs"][0]["data"] == [1, 2]


def test_the_json_may_be_followed_by_nothing(http: httpx.Client) -> None:
    answer = in_binary(http, one(data=[1, 2]))

    assert answer.json()["outputs"][0]["data"] == [1, 2]


def test_numbers_may_come_as_binary_and_go_as_json(http: httpx.Client) -> None:
    answer = in_binary(http, blob(8), blobs=struct.pack("<2f", 1, float("nan")))

    assert answer.json()["outputs"][0]["data"] == [1, "NaN"]


@pytest.mark.parametrize("data", ["[1, NaN]", '[1, "NaN"]', "[[1, NaN]]", "[1, -Infinity]", "[1, Infinity]"])
def test_words_for_what_is_not_finite_are_taken_with_quotes_or_without(http: httpx.Client, data: str) -> None:
    text = json.dumps({"inputs": [one(data=CANARY)]}).replace(f'"{CANARY}"', data)

    answer = http.post(ROWS, content=text.encode())

    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["outputs"][0]["data"][1], str)


@pytest.mark.parametrize(
    "data",
    ["[1, nan]", "[1, +Infinity]", "[1, NaN", "[1, 1e400]", "[1, NaN, 1e400]", "{NaN}", "NaN", "[NaN, NaN] NaN"],
)
def test_other_words_are_not_json(http: httpx.Client, data: str) -> None:
    text = json.dumps({"inputs": [one(data=CANARY)]}).replace(f'"{CANARY}"', data)

    check_refused(http.post(ROWS, content=text.encode()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": [1]}, "another number of values"),
        ({"data": [1, 2, 3]}, "another number of values"),
        ({"data": []}, "another number of values"),
        ({"data": [[1, 2], [3, 4]]}, "nested in another way"),
        ({"data": [[1], [2]]}, "nested in another way"),
        ({"data": [[1, 2], 3]}, "nested in another way"),
        ({"data": [[[1, 2]]]}, "nested in another way"),
        ({"data": [[[1], [2]]]}, "nested deeper"),
        ({"data": [[1, [2]]]}, "nested deeper"),
        ({"data": {"0": 1}}, "not a list"),
        ({"data": CANARY}, "not a list"),
        ({"data": 1.5}, "not a list"),
        ({}, "neither data nor binary data"),
        ({"data": None}, "neither data nor binary data"),
        ({"data": [1, CANARY]}, "/x/data/1"),
        ({"data": [1, None]}, "/x/data/1"),
        ({"data": [1, True]}, "/x/data/1"),
        ({"data": [1, 1e39]}, "/x/data/1"),
        ({"data": [1, 10**400]}, "/x/data/1"),
        ({"shape": [2], "data": [1, 2]}, "[2]"),
        ({"shape": [-1, 2], "data": [1, 2]}, "/inputs/0/shape/0"),
        ({"shape": [1.5, 2], "data": [1, 2]}, "/inputs/0/shape/0"),
        ({"shape": [True, 2], "data": [1, 2]}, "/inputs/0/shape/0"),
        ({"shape": [2**63, 2], "data": [1, 2]}, "another number of values"),
        ({"shape": [2**64, 2], "data": [1, 2]}, ""),
        ({"shape": [2**32, 2**32], "data": []}, "too large"),
        ({"shape": [2**40, 0], "data": []}, "too large"),
        ({"shape": [1] * 33, "data": [1]}, "too many dimensions"),
        ({"shape": [1] * 100_000, "data": [1]}, "too many dimensions"),
        ({"shape": "1,2", "data": [1, 2]}, "/inputs/0/shape"),
        ({"datatype": "FLOAT", "data": [1, 2]}, "FP32"),
        ({"datatype": "fp32", "data": [1, 2]}, "FP32"),
        ({"datatype": CANARY, "data": [1, 2]}, "FP32"),
        ({"datatype": "INT64", "data": [1, 2]}, "the model takes FP32"),
        ({"datatype": "FP16", "data": [1, 2]}, "FP16 is sent as binary data"),
        ({"datatype": "BF16", "data": [1, 2]}, "BF16 is sent as binary data"),
        ({"name": CANARY, "data": [1, 2]}, "'x' is missing"),
        ({"name": 7, "data": [1, 2]}, "/inputs/0/name"),
        ({"data": [1, 2], "parameters": []}, "/inputs/0/parameters"),
        ({"data": [1, 2], "parameters": {"binary_data_size": 8}}, "and binary data as well"),
        ({"data": [1, 2], "parameters": {"shared_memory_region": CANARY}}, "no shared memory"),
        ({"parameters": {"binary_data_size": 8}}, "body ends before"),
    ],
)
def test_an_input_that_is_wrong_is_refused(http: httpx.Client, fields: dict[str, Any], message: str) -> None:
    check_refused(sent(http, one(**fields)), message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 7}, "/id"),
        ({"id": "x" * 513}, "/id"),
        ({"id": "x" * 1_000_000}, "/id"),
        ({"parameters": {"timeout": 1.5}}, "/parameters/timeout"),
        ({"parameters": {"timeout": True}}, "/parameters/timeout"),
        ({"parameters": {"timeout": -1}}, "/parameters/timeout"),
        ({"parameters": {"timeout": CANARY}}, "/parameters/timeout"),
        ({"parameters": {"priority": "high"}}, "/parameters/priority"),
        ({"parameters": {"binary_data_output": 1}}, "/parameters/binary_data_output"),
        ({"parameters": {"sequence_id": 1}}, "sequence_id"),
        ({"parameters": 1}, "/parameters"),
        ({"outputs": [{"name": CANARY}]}, "no output of this name"),
        ({"outputs": [{"name": "y"}, {"name": "y"}]}, "two outputs"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "binary_data"),
        ({"outputs": [{"name": "y", "parameters": {"classification": CANARY}}]}, "classification"),
        ({"outputs": [{"name": "y", "parameters": {"shared_memory_region": CANARY}}]}, "no shared memory"),
        ({"outputs": {"name": "y"}}, "/outputs"),
        ({"inputs": {"name": "x"}}, "/inputs"),
        ({"inputs": None}, "/inputs"),
    ],
)
def test_a_request_that_is_wrong_is_refused(http: httpx.Client, fields: dict[str, Any], message: str) -> None:
    check_refused(http.post(ROWS, json={"inputs": [one(data=[1, 2])]} | fields), message)


def test_half_of_a_surrogate_pair_beside_a_nan_is_not_json(http: httpx.Client) -> None:
    body = b'{"id": "\\ud800", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [NaN]}]}'
    answer = http.post(ROWS, content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, "not valid JSON" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("timeout", [10**18, 2**63, 10**30, 10**400])
def test_a_timeout_may_be_longer_than_anything_waits(http: httpx.Client, timeout: int) -> None:
    assert sent(http, one(data=[1, 2]), parameters={"timeout": timeout}).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"[]", b"7", b'"x"', b"\xff", b"{}", b'{"inputs": [' * 5000, b"null"]
)
def test_what_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    check_refused(http.post(ROWS, content=body))


@pytest.mark.parametrize(
    ("inputs", "blobs", "message"),
    [
        ([blob(8)], b"\0" * 7, "body ends before"),
        ([blob(8)], b"\0" * 9, "goes on after"),
        ([blob(8)], b"", "body ends before"),
        ([blob(4)], b"\0" * 4, "another number of bytes"),
        ([blob(12)], b"\0" * 12, "another number of bytes"),
        ([blob(0)], b"", "another number of bytes"),
        ([blob(-8)], b"\0" * 8, "whole number"),
        ([blob(8.0)], b"\0" * 8, "whole number"),
        ([blob("8")], b"\0" * 8, "whole number"),
        ([blob(True)], b"\0", "whole number"),
        ([blob(2**63)], b"\0" * 8, "body ends before"),
        ([blob(2**64 + 8)], b"\0" * 8, "body ends before"),
        ([blob(8), blob(8, name="z")], b"\0" * 8, "body ends before"),
        ([blob(2**63), blob(-(2**63) + 8, name="z")], b"\0" * 8, "body ends before"),
        ([one(data=[1, 2])], b"\0" * 8, "goes on after"),
        ([blob(8, datatype="FP16")], b"\0" * 8, "the model takes FP32"),
        ([blob(8, shape=[2**62, 2])], b"\0" * 8, "another number of bytes"),
        ([blob(8, shape=[2**32, 2**32])], b"\0" * 8, "has the shape"),
        ([blob(0, shape=[2**62, 0])], b"", "too large"),
    ],
)
def test_binary_data_has_the_size_that_is_announced(
    http: httpx.Client, inputs: list[Any], blobs: bytes, message: str
) -> None:
    check_refused(in_binary(http, *inputs, blobs=blobs), message)


@pytest.mark.parametrize("length", [-1, 0, 10**6, 2**64, "1_0", "0x10", "+5", "5.0", "", "é", CANARY, "9" * 5000])
def test_the_length_of_the_json_is_within_the_body(http: httpx.Client, length: object) -> None:
    raw = {"Inference-Header-Content-Length": str(length).encode()}

    check_refused(http.post(ROWS, content=json.dumps({"inputs": [blob(8)]}).encode() + b"\0" * 8, headers=raw))


def test_strings_in_binary_are_whole_and_in_utf_8(http: httpx.Client) -> None:
    def asked(data: bytes) -> httpx.Response:
        given = blob(len(data), shape=[1], datatype="BYTES")
        return in_binary(http, given, blobs=data, path="/v2/models/any-string/infer")

    assert asked(b"\2\0\0\0\xc3\xa9").json()["outputs"][0]["data"] == ["é"]
    check_refused(asked(b"\1\0\0\0\xff"), "not UTF-8")
    check_refused(asked(b"\xff\xff\xff\xff"), "ends within")
    check_refused(asked(b"\1\0\0"), "ends within")
    check_refused(asked(b"\0\0\0\0" * 2), "another number of strings")


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_limited_by_what_comes_out(http: httpx.Client, coding: str, compress: Any) -> None:
    def asked(body: bytes) -> httpx.Response:
        return http.post(ROWS, content=body, headers={"Content-Encoding": coding})

    def request(n_bytes: int) -> bytes:
        head = json.dumps({"inputs": [one(data=[1, 2])]}).encode()
        return head + b" " * (n_bytes - len(head))

    assert asked(compress(request(MOST_BODY))).status_code == 200
    check_refused(asked(compress(request(MOST_BODY + 1))), "when it is decoded", 413)
    # A hundred times the limit, in 100 kB.
    check_refused(asked(compress(b" " * (100 * MOST_BODY))), "when it is decoded", 413)
    whole = compress(request(100_000))
    for broken in (whole[:-1], whole[:20], whole + b"\0", whole + whole, b"", b"{}", request(100)):
        check_refused(asked(broken), "Content-Encoding")
    assert asked(compress(request(100))).status_code == 200


def test_a_body_that_is_too_large_as_it_is_sent_is_refused(http: httpx.Client) -> None:
    check_refused(http.post(ROWS, content=b" " * (MOST_BODY + 1)), "at most", 413)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, deflate", CANARY])
def test_other_codings_of_a_body_are_refused(http: httpx.Client, coding: str) -> None:
    check_refused(http.post(ROWS, content=b"{}", headers={"Content-Encoding": coding}), "gzip or deflate", 415)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, GZIP;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.0", None),
        ("identity", None),
        ("br", None),
        ("", None),
    ],
)
def test_an_answer_is_compressed_if_the_request_allows_it(http: httpx.Client, accept: str, coding: str | None) -> None:
    given = {"name": "x", "shape": [1000], "datatype": "FP32", "data": [0] * 1000}

    answer = http.post(ANY, json={"inputs": [given]}, headers={"Accept-Encoding": accept})

    assert answer.headers.get("content-encoding") == coding
    assert answer.json()["outputs"][0]["data"] == [0] * 1000


def test_a_small_answer_is_not_compressed(http: httpx.Client) -> None:
    assert "content-encoding" not in sent(http, one(data=[1, 2])).headers


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream", "text/plain", ""])
def test_a_program_may_send_any_media_type(http: httpx.Client, media_type: str) -> None:
    """As curl does without a header."""
    body = json.dumps({"inputs": [one(data=[1, 2])]}).encode()

    assert http.post(ROWS, content=body, headers={"Content-Type": media_type}).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_page_of_another_origin_must_ask_before_it_sends(http: httpx.Client, media_type: str) -> None:
    """A browser sends these types without asking the gateway first, and always names the origin."""
    body = json.dumps({"inputs": [one(data=[1, 2])]}).encode()
    headers = {"Content-Type": media_type, "Origin": "https://example.org"}

    check_refused(http.post(ROWS, content=body, headers=headers), "application/json", 415)
    headers["Content-Type"] = "application/json"
    assert http.post(ROWS, content=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/rows/nothing", 404),
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/rows/versions/9", 404),
        ("GET", "/v2/models/rows%2F..%2Fwine", 404),
        ("GET", "/v2/models/nothing/ready", 404),
        ("GET", "/v2/models/nothing/config", 404),
        ("GET", "/v2/models/nothing/stats", 404),
        ("POST", "/v2/models/nothing/infer", 400),
        ("GET", "/v2/models/rows/infer", 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/rows", 405),
        ("POST", "/v2/repository/models/nothing/load", 404),
        ("POST", "/v2/repository/models/rows/unload", 501),
        ("GET", "/v2/systemsharedmemory/status", 501),
        ("POST", "/v2/cudasharedmemory/region/a/register", 501),
        ("GET", "/v2/logging", 501),
        ("GET", "/v2/models/rows/trace/setting", 501),
    ],
)
def test_every_error_has_one_text(http: httpx.Client, method: str, path: str, status: int) -> None:
    check_refused(http.request(method, path), status=status)


def test_a_host_that_is_not_allowed_is_refused_in_the_same_form(http: httpx.Client) -> None:
    check_refused(http.get("/v2", headers={"Host": "example.org"}), "HEADRACE_HOSTS", 421)
    assert http.get("/jobs", headers={"Host": "example.org"}).headers["content-type"] == "application/problem+json"


def test_paths_may_end_in_a_slash_and_head_has_no_body(http: httpx.Client) -> None:
    assert http.get("/v2/").json() == http.get("/v2").json()
    assert http.get("/v2/models/rows/").status_code == 200
    assert http.head("/v2/health/live").status_code == 200
    assert http.head("/v2/nothing").status_code == 404


def test_errors_of_other_paths_are_problems(http: httpx.Client) -> None:
    for path in ("/v2x/models", "/nothing", "/models/nothing"):
        assert http.get(path).headers["content-type"] == "application/problem+json"


def test_what_is_ready_says_so_as_kserve_has_it(http: httpx.Client) -> None:
    """Its clients read the body, where that of Triton reads the status alone."""
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/wine@1/ready").json() == {"name": "wine", "ready": True}
    assert http.post("/v2/repository/models/wine/load").json() == {"name": "wine", "load": True}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}'])
def test_the_index_takes_an_empty_body(http: httpx.Client, body: bytes) -> None:
    assert http.post("/v2/repository/index", content=body).status_code == 200


def test_the_index_refuses_what_is_no_json(http: httpx.Client) -> None:
    check_refused(http.post("/v2/repository/index", content=b"{"))
    check_refused(http.post("/v2/repository/index", content=b'{"ready": 1}'))


def test_the_api_is_described(served: Gateway, http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()

    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert infer["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("OipInferRequest")
    assert infer["responses"]["default"]["content"].keys() == {"application/json"}

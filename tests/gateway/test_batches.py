"""A batch: many inference jobs from one file of JSON lines, each stored once, whatever dies."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.ids import JobId, base_of_batch, job_of_line, line_of_job
from shared_schemas.outcome import Failure
from shared_schemas.stream import keys
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch, Settlement

from tests.support.gateways import INFERENCE, MODEL, Driver, Gateway, running_gateway, succeeded
from tests.support.queue_bench import BAD

HEADERS = {"content-type": "application/jsonl"}
KEY = {**HEADERS, "Idempotency-Key": "the-batch"}


def a_line(n: int, **body: Any) -> dict[str, Any]:
    return {"custom_id": f"row-{n}", "body": {"model_id": MODEL, "input_data": n, **body}}


def file_of(lines: Iterable[object]) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


async def post(http: httpx.AsyncClient, content: Any, headers: dict[str, str] = HEADERS) -> httpx.Response:
    return await http.post("/batches", content=content, headers=headers)


async def read(http: httpx.AsyncClient, batch_id: str, name: str) -> list[dict[str, Any]]:
    response = await http.get(f"/batches/{batch_id}/{name}")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/jsonl")
    return [json.loads(line) for line in response.text.splitlines()]


async def run(drive: Driver, n: int, failing: frozenset[int] = frozenset()) -> None:
    """n jobs end. failing: the inputs that fail."""
    claims, writer = drive.claims(INFERENCE), AttemptWriter(drive.nodes, INFERENCE)
    await claims.open()
    claimed = await claims.claim(n, token="t" * 16)
    assert len(claimed) == n
    outcomes = [(json.loads(claim.spec)["input_data"], claim) for claim in claimed]
    ends = [
        Settlement(Batch(claim, 0, ()), Failure(BAD) if given in failing else succeeded({"twice": given * 2}))
        for given, claim in outcomes
    ]
    assert all(await writer.settle(ends))


async def n_ready(drive: Driver) -> int:
    return int(await drive.client.xlen(keys.ready(INFERENCE, keys.Lane.NORMAL)))


async def test_each_line_is_a_job_and_its_result_a_line(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()

    answer = await post(http, file_of(a_line(n) for n in range(5)))

    batch = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/batches/{batch['batch_id']}")
    assert (batch["status"], batch["n_lines"], batch["n_invalid"], batch["jobs"]["queued"]) == ("running", 5, 0, 5)
    assert await read(http, batch["batch_id"], "output") == []

    await run(drive, 2)
    early = await read(http, batch["batch_id"], "output")
    assert [(line["custom_id"], line["response"]["body"]) for line in early] == [
        ("row-0", {"twice": 0}),
        ("row-1", {"twice": 2}),
    ]
    assert early[0]["response"]["status_code"] == 200
    assert early[0]["error"] is None

    await run(drive, 3, failing=frozenset({3}))
    assert [line["custom_id"] for line in await read(http, batch["batch_id"], "output")] == [
        "row-0",
        "row-1",
        "row-2",
        "row-4",
    ]
    [failed] = await read(http, batch["batch_id"], "errors")
    assert (failed["custom_id"], failed["response"]) == ("row-3", None)
    assert failed["error"] == {"code": "bad", "message": "bad", "param": None, "line": 4}
    ended = (await http.get(f"/batches/{batch['batch_id']}")).json()
    assert (ended["status"], ended["jobs"]["succeeded"], ended["jobs"]["failed"]) == ("completed", 4, 1)
    assert [each["batch_id"] for each in (await http.get("/batches")).json()["batches"]] == [batch["batch_id"]]


async def test_a_job_of_a_batch_is_a_job_like_any_other(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    batch = (await post(http, file_of([a_line(1, tags=["nightly"], metadata={"a": "b"}, priority="high")]))).json()

    job = (await http.get("/jobs?tag=nightly")).json()["jobs"][0]
    full = (await http.get(f"/jobs/{job['id']}")).json()

    assert full["spec"]["metadata"] == {"a": "b", "custom_id": "row-1"}
    assert full["spec"]["model_id"] == f"{MODEL}@1"
    assert line_of_job(base_of_batch(batch["batch_id"]), JobId(job["id"])) == 1


UNKNOWN = "inference-01arz3ndektsv4rrffq69g5fav"
WRONG = [
    (b"{", "malformed_json", None, None),
    (b"\xff", "malformed_json", None, None),
    (b"[" * 5000, "malformed_json", None, None),
    (b"[]", "wrong_type", None, None),
    ({"body": {}}, "missing_field", "/custom_id", None),
    ({"custom_id": "", "body": {}}, "out_of_range", "/custom_id", ""),
    ({"custom_id": "x" * 257, "body": {}}, "out_of_range", "/custom_id", "x" * 257),
    ({"custom_id": "x"}, "missing_field", "/body", "x"),
    ({"custom_id": "x", "body": 3}, "wrong_type", "/body", "x"),
    ({"custom_id": "x", "body": {"model_id": MODEL}}, "missing_field", "/body/input_data", "x"),
    ({**a_line(101), "color": "mauve"}, "unknown_field", "/color", "row-101"),
    ({**a_line(102), "url": "/v1/chat/completions"}, "invalid_value", "/url", "row-102"),
    ({**a_line(103), "method": "GET"}, "invalid_value", "/method", "row-103"),
    (a_line(104, color="mauve"), "unknown_field", "/body/color", "row-104"),
    (a_line(105, queue="inference-other"), "invalid_spec", "/body/queue", "row-105"),
    (a_line(106, queue="training"), "invalid_spec", "/body/queue", "row-106"),
    (a_line(107, depends_on=["nothing"]), "invalid_spec", "/body/depends_on/0", "row-107"),
    (a_line(108, model_id="no-such"), "model_not_found", "/body", "row-108"),
    (a_line(109, metadata={"custom_id": "mine"}), "invalid_value", "/body/metadata", "row-109"),
    (a_line(110, metadata={f"k{i}": "v" for i in range(16)}), "invalid_value", "/body/metadata", "row-110"),
    (a_line(0), "invalid_value", "/custom_id", "row-0"),
    (a_line(111, input_data="x" * 1_100_000), "body_too_large", None, None),
]


async def test_a_line_that_is_no_job_is_an_error_and_stops_no_other(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    wrong = [line for line, *_ in WRONG]

    batch = (await post(http, file_of([a_line(0), *wrong, b"", b"  \r", a_line(1)]))).json()

    errors = await read(http, batch["batch_id"], "errors")
    found = {error["error"]["line"]: error for error in errors}
    assert (batch["n_lines"], batch["n_invalid"], batch["jobs"]["queued"]) == (len(WRONG) + 2, len(WRONG), 2)
    assert len(errors) == len(found) == len(WRONG)
    for number, (_, code, param, custom_id) in enumerate(WRONG, 2):
        error = found[number]
        shown = (error["error"]["code"], error["error"]["param"], error["custom_id"], error["id"])
        assert shown == (code, param, custom_id, None), (number, error)
        assert "mauve" not in error["error"]["message"]
    await run(drive, 2)
    assert [line["custom_id"] for line in await read(http, batch["batch_id"], "output")] == ["row-0", "row-1"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n"])
async def test_a_batch_without_lines_is_complete(http: httpx.AsyncClient, drive: Driver, content: bytes) -> None:
    batch = (await post(http, content)).json()

    assert (batch["status"], batch["n_lines"], sum(batch["jobs"].values())) == ("completed", 0, 0)


async def test_blank_lines_are_no_lines_of_the_batch_and_keep_the_numbers_of_the_others(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    """Some before the first noted chunk, some behind it, and some when the upload is sent again."""
    await drive.publish()
    lines = [line for n in range(250) for line in (a_line(n), b"", b" \r")]
    content = file_of([*lines, {"custom_id": "bad", "body": {}}, b""])

    batch = (await post(http, content, KEY)).json()
    again = await post(http, content, KEY)

    [error] = await read(http, batch["batch_id"], "errors")
    assert (batch["n_lines"], batch["n_invalid"], batch["jobs"]["queued"]) == (251, 1, 250)
    assert error["error"]["line"] == 751
    assert (again.status_code, again.json()) == (202, batch)


async def test_lines_that_arrive_in_odd_pieces_are_the_same_lines(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    content = file_of(a_line(n) for n in range(7)).replace(b"\n", b"\r\n").removesuffix(b"\r\n")

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 13):
            yield content[at : at + 13]

    batch = (await post(http, pieces(), KEY)).json()
    again = await post(http, content, KEY)

    assert (batch["n_lines"], batch["jobs"]["queued"]) == (7, 7)
    assert (again.json(), again.headers["idempotency-replayed"]) == (batch, "true")


@pytest.mark.parametrize("other", [4, 6, 3])
async def test_the_same_key_with_other_lines_is_refused(http: httpx.AsyncClient, drive: Driver, other: int) -> None:
    await drive.publish()
    lines = [a_line(n) for n in range(5)]
    await post(http, file_of(lines), KEY)

    changed = [a_line(n) for n in range(other)] if other != 3 else [*lines[:3], a_line(77), lines[4]]
    answer = await post(http, file_of(changed), KEY)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await n_ready(drive) == 5


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/csv"}, 415, "media_type_unsupported"),
        ({**HEADERS, "content-encoding": "gzip"}, 415, "encoding_unsupported"),
        ({**HEADERS, "Idempotency-Key": "a b"}, 400, "idempotency_key_invalid"),
    ],
)
async def test_what_is_no_batch_is_refused(
    http: httpx.AsyncClient, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await post(http, b"{}\n", headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("queue", ["inference-nobody", "training", "x"])
async def test_a_batch_goes_to_a_known_queue_of_inference_jobs(http: httpx.AsyncClient, queue: str) -> None:
    answer = await http.post(f"/batches?queue={queue}", content=b"{}\n", headers=HEADERS)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "batch_id", ["x", "batch-", "batch-inference-01arz3ndektsv4rrffq69g5fav", "inference-01arz3ndektsv4rrffq69g5fav"]
)
@pytest.mark.parametrize("path", ["", "/output", "/errors"])
async def test_an_unknown_batch_is_not_found(http: httpx.AsyncClient, batch_id: str, path: str) -> None:
    answers = [await http.get(f"/batches/{batch_id}{path}"), await http.post(f"/batches/{batch_id}/cancel")]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "batch_not_found")] * 2


async def test_a_batch_that_has_ended_is_not_cancelled(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    batch = (await post(http, file_of([a_line(1), a_line(2)]))).json()
    await run(drive, 2)

    answer = await http.post(f"/batches/{batch['batch_id']}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "state_conflict")
    assert (await http.get(f"/batches/{batch['batch_id']}")).json()["status"] == "completed"


async def test_cancelling_a_batch_cancels_all_that_has_not_ended(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    later = "2100-01-01T00:00:00Z"
    lines = [*(a_line(n) for n in range(450)), *(a_line(n, run_at=later) for n in range(450, 460))]
    batch = (await post(http, file_of(lines), KEY)).json()
    await run(drive, 3)
    [running] = await drive.claims(INFERENCE).claim(1, token="r" * 16)

    answer = await http.post(f"/batches/{batch['batch_id']}/cancel")
    again = await post(http, file_of(lines), KEY)

    cancelled = answer.json()
    assert (answer.status_code, cancelled["status"]) == (202, "cancelling")
    assert {state: n for state, n in cancelled["jobs"].items() if n} == {"running": 1, "succeeded": 3, "cancelled": 456}
    assert (await drive.jobs.find(running.job_id)).cancel_requested
    assert (again.status_code, again.json()["code"]) == (409, "state_conflict")
    await drive.settle(running, succeeded(1))
    ended = (await http.get(f"/batches/{batch['batch_id']}")).json()
    assert (ended["status"], ended["cancelled_at"] is None) == ("cancelled", False)
    errors = await read(http, batch["batch_id"], "errors")
    assert len(errors) == 457 - (ended["jobs"]["succeeded"] - 3)
    assert {error["error"]["code"] for error in errors} == {"job_cancelled"}


async def test_results_come_as_they_land_each_once(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    batch = (await post(http, file_of([a_line(0), b"{", *(a_line(n) for n in range(2, 9))]))).json()
    path, names, errors = f"/batches/{batch['batch_id']}", list[str](), list[Any]()
    landed = anyio.Event()

    async def follow() -> None:
        async with http.stream("GET", f"{path}/output?follow=true") as response:
            async for line in response.aiter_lines():
                names.append(json.loads(line)["custom_id"])
                landed.set()

    async def follow_errors() -> None:
        async with http.stream("GET", f"{path}/errors?follow=true") as response:
            errors.extend([json.loads(line) async for line in response.aiter_lines()])

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        group.start_soon(follow_errors)
        claims, writer = drive.claims(INFERENCE), AttemptWriter(drive.nodes, INFERENCE)
        await claims.open()
        first, *others = await claims.claim(8, token="t" * 16)
        # The first line ends last, and one fails.
        await writer.settle([Settlement(Batch(others[4], 0, ()), succeeded(1))])
        with anyio.fail_after(20):
            await landed.wait()
        assert names == ["row-6"]
        await writer.settle([Settlement(Batch(each, 0, ()), succeeded(1)) for each in (*others[:4], others[5])])
        await writer.settle([Settlement(Batch(first, 0, ()), succeeded(1))])
        await writer.settle([Settlement(Batch(others[6], 0, ()), Failure(BAD))])

    assert sorted(names) == [f"row-{n}" for n in (0, 2, 3, 4, 5, 6, 7)]
    assert [(error["custom_id"], error["error"]["line"]) for error in errors] == [(None, 2), ("row-8", 9)]


@pytest.fixture
def small(redis_url: str, tmp_path: Path) -> Any:
    with running_gateway(redis_url, tmp_path, batch_lines=300, batch_bytes=60_000, body_timeout_s=3) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "lines", [[a_line(n) for n in range(301)], [a_line(n, tags=["x" * 60] * 5) for n in range(250)]]
)
async def test_a_batch_that_is_too_large_is_cancelled(small: Gateway, drive: Driver, lines: list[Any]) -> None:
    await drive.publish()
    async with small.client() as http:
        answer = await post(http, file_of(lines))
        [batch] = (await http.get("/batches")).json()["batches"]

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert batch["status"] == "cancelled"
    assert batch["jobs"]["queued"] == 0


async def test_a_full_queue_lets_the_rest_of_a_batch_come_later(redis_url: str, drive: Driver, tmp_path: Path) -> None:
    await drive.publish()
    content = file_of(a_line(n) for n in range(30))
    with running_gateway(redis_url, tmp_path, queue_limits="inference=12", body_timeout_s=1) as gateway:
        async with gateway.client() as http:
            first = await post(http, content, KEY)
            assert (first.status_code, first.json()["code"], await n_ready(drive)) == (429, "queue_full", 12)
            [batch] = (await http.get("/batches")).json()["batches"]
            assert batch["status"] == "receiving"
            answers = []
            while not answers or answers[-1].status_code == 429:
                await run(drive, 12 if len(answers) < 2 else 6)
                answers.append(await post(http, content, KEY))
            await run(drive, await n_ready(drive))

            assert answers[-1].json()["batch_id"] == batch["batch_id"]
            output = await read(http, batch["batch_id"], "output")
    assert [line["custom_id"] for line in output] == [f"row-{n}" for n in range(30)]


async def test_a_gateway_killed_at_any_line_loses_and_repeats_none(
    redis_url: str, drive: Driver, tmp_path: Path
) -> None:
    await drive.publish()
    n_lines = 2_000
    lines = [a_line(n) if n % 100 else {"custom_id": f"row-{n}", "body": {}} for n in range(n_lines)]
    content = file_of(lines)

    with running_gateway(redis_url, tmp_path) as gateway:
        for n_kill in (1, 400, 900, 1500):
            held = anyio.Event()

            async def pieces(n: int = n_kill, held: anyio.Event = held) -> AsyncIterator[bytes]:
                """Half of the lines up to the n-th stored one arrive, then the rest once it is killed."""
                size = len(content) * min(n_lines, n + 300) // n_lines
                yield content[:size]
                await held.wait()
                yield content[size:]

            async def kill(n: int = n_kill, held: anyio.Event = held) -> None:
                with anyio.fail_after(60):
                    while await n_ready(drive) < n:  # noqa: ASYNC110 - nothing announces it
                        await anyio.sleep(0.005)
                gateway.kill()
                held.set()

            async with gateway.client() as http, anyio.create_task_group() as group:
                group.start_soon(kill)
                with pytest.raises(httpx.TransportError):
                    await post(http, pieces(), KEY)
            gateway.start()
        async with gateway.client(timeout=60) as http:
            batch = (await post(http, content, KEY)).json()
            again = await post(http, content, KEY)
            errors = await read(http, batch["batch_id"], "errors")

    assert again.json() == batch
    assert (batch["n_lines"], batch["n_invalid"], batch["jobs"]["queued"]) == (n_lines, 20, n_lines - 20)
    assert await n_ready(drive) == n_lines - 20, "each line has one entry"
    assert sorted(error["error"]["line"] for error in errors) == [n + 1 for n in range(0, n_lines, 100)]
    base = base_of_batch(batch["batch_id"])
    for number in (2, 999, n_lines):
        spec = (await drive.jobs.find(job_of_line(base, number))).spec
        assert (spec.metadata["custom_id"], spec.input_data) == (f"row-{number - 1}", number - 1)


async def test_two_who_send_a_batch_at_once_make_one(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()
    content, answers = file_of(a_line(n) for n in range(600)), []

    async def send() -> None:
        answers.append((await post(http, content, KEY)).json()["batch_id"])

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(send)

    assert len(set(answers)) == 1
    assert await n_ready(drive) == 600

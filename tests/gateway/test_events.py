"""Timelines over HTTP: every way to read one, from every place, once."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.events import Logged
from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import Timeline

from tests.support.gateways import MODEL, TRAINING_BODY, Driver, Frame, frames, read_frames, succeeded
from tests.support.stored import make_long

LARGE = QueueName("training-large")

SSE, NDJSON, JSON = ({"Accept": kind} for kind in ("text/event-stream", "application/x-ndjson", "application/json"))


async def submitted(http: httpx.AsyncClient, **fields: Any) -> JobId:
    return JobId((await http.post("/jobs/training", json={**TRAINING_BODY, **fields})).json()["job_id"])


async def stored(drive: Driver, job_id: JobId) -> list[bytes]:
    return [entry.data for entry in await Timeline(drive.nodes).read(job_id, after=0)]


def numbers(received: Sequence[Frame]) -> list[int]:
    return [int(frame.id) for frame in received]


async def test_a_finished_job_is_replayed_and_the_stored_bytes_are_not_touched(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    await drive.record(claim, Logged(line='ü \u2028 \\ " </script> \x1b[31m\ttab'))
    await drive.settle(claim, succeeded({"x": 1.5}), first=1)

    received = await read_frames(http, f"/jobs/{job_id}/events", headers=SSE)

    # U+2028 ends a line for some readers, and means the same when it is escaped.
    sent = [data.replace("\u2028".encode(), b"\\u2028") for data in await stored(drive, job_id)]
    assert [frame.data.encode() for frame in received] == sent
    assert [frame.event for frame in received] == ["state", "state", "log", "done"]
    assert [frame.json["n"] for frame in received] == numbers(received) == [1, 2, 3, 4]


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "a proxy buffers responses",
    sees="the response has headers that tell the proxy not to, and its first byte comes at once",
)
async def test_a_stream_is_announced_so_that_no_proxy_holds_it_back(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", f"/jobs/{await submitted(http)}/events") as response:
        first = await anext(response.aiter_bytes())
        headers = response.headers

    assert first.startswith(b"retry: 2000\n")
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache, no-transform", "no")


async def test_a_stream_cut_at_any_event_goes_on_with_nothing_missing_or_doubled(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, n_events=197)

    for cut in range(200):
        header = {"Last-Event-ID": str(cut)} if cut % 2 else {}
        after = {} if cut % 2 else {"after": str(cut)}
        rest = await read_frames(http, f"/jobs/{job_id}/events", headers=header, params=after)
        assert numbers(rest) == list(range(cut + 1, 201))


async def test_the_header_wins_over_the_query(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id)

    rest = await read_frames(http, f"/jobs/{job_id}/events?after=0", headers={"Last-Event-ID": "2"})

    assert numbers(rest) == [3]


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "a reader's cursor is at or beyond the end of a finished job", sees="204, which stops an EventSource"
)
@pytest.mark.parametrize("after", ["3", "4", "999999999999"])
async def test_past_the_end_there_is_nothing_and_the_browser_stops(
    http: httpx.AsyncClient, drive: Driver, after: str
) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id)

    response = await http.get(f"/jobs/{job_id}/events", headers={**SSE, "Last-Event-ID": after})

    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "1-0", "9" * 20])
async def test_a_cursor_that_is_none_is_refused(http: httpx.AsyncClient, cursor: str) -> None:
    job_id = await submitted(http)

    for request in ({"headers": {"Last-Event-ID": cursor}}, {"params": {"after": cursor}}):
        response = await http.get(f"/jobs/{job_id}/events", **request)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


async def test_an_unknown_format_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.get(f"/jobs/{await submitted(http)}/events", headers={"Accept": "image/png"})

    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "a reader's cursor is older than the stored events", sees="a `gap` event, then the stored events"
)
async def test_a_reader_gets_a_gap_for_events_that_are_no_longer_kept(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    await drive.finish(job_id, n_events=5)
    await make_long(drive.client, job_id)
    await drive.client.xtrim(keys.events(job_id), minid="5-0", approximate=False)

    received = await read_frames(http, f"/jobs/{job_id}/events?after=1", headers=SSE)

    assert [(frame.id, frame.event) for frame in received][:2] == [("4", "gap"), ("5", "log")]
    assert (received[0].json["requested"], received[0].json["oldest"]) == (1, 5)
    assert numbers(received[1:]) == [5, 6, 7, 8]


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "a reader's cursor is ahead of a job that has not ended",
    sees="a `gap` event, then the job from its first event",
)
async def test_a_reader_ahead_of_an_open_job_gets_a_gap_and_begins_again(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)

    async with http.stream("GET", f"/jobs/{job_id}/events?after=40") as response:
        stream = frames(response)
        gap, first = await anext(stream), await anext(stream)
        await drive.finish(job_id)
        rest = [frame async for frame in stream]

    assert (gap.event, gap.json["requested"], gap.json["oldest"]) == ("gap", 40, 1)
    assert numbers([first, *rest]) == [1, 2, 3]


async def test_ndjson_has_one_stored_event_per_line_and_follows(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)

    async with http.stream("GET", f"/jobs/{job_id}/events", headers=NDJSON) as response:
        lines = response.aiter_lines()
        received = [await anext(lines)]
        await drive.finish(job_id, n_events=3)
        received += [line async for line in lines]

    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert [line.encode() for line in received] == await stored(drive, job_id)


async def test_ndjson_ends_with_what_there_is_when_it_is_not_to_follow(http: httpx.AsyncClient) -> None:
    job_id = await submitted(http)

    response = await http.get(f"/jobs/{job_id}/events?follow=false", headers=NDJSON)

    assert len(response.text.splitlines()) == 1


async def test_json_pages_lead_to_the_end(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    await drive.record(claim, *(Logged(line=str(i)) for i in range(600)))
    received, after, pages = [], "0", 0
    page = {"done": False}
    while not page["done"]:
        if pages == 2:
            await drive.settle(claim, succeeded(), first=600)
        page = (await http.get(f"/jobs/{job_id}/events", headers=JSON, params={"after": after})).json()
        received += page["events"]
        after, pages = page["next_after"], pages + 1

    assert [event["n"] for event in received] == list(range(1, 604))
    assert pages == 3


async def test_two_jobs_in_one_stream_each_in_order_and_resumed_by_a_common_cursor(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    await drive.catalog.declare(LARGE)
    a, b = await submitted(http), await submitted(http, queue=LARGE)
    path = f"/events?job={a}&job={b}"
    async with http.stream("GET", path) as response:
        stream = frames(response)
        before = [await anext(stream), await anext(stream)]
        await drive.finish(a, n_events=3)
        await drive.finish(b, n_events=2)
        received = before + [frame async for frame in stream]

    by_job = {job: [frame.json["n"] for frame in received if frame.json["job_id"] == job] for job in (a, b)}
    assert by_job == {a: [1, 2, 3, 4, 5, 6], b: [1, 2, 3, 4, 5]}
    assert all(frame.data.startswith(f'{{"job_id":"{frame.json["job_id"]}",') for frame in received)
    everything = {(frame.json["job_id"], frame.json["n"]) for frame in received}
    for cut, frame in enumerate(received[:-1]):
        rest = await read_frames(http, path, headers={"Last-Event-ID": frame.id})
        read = [(other.json["job_id"], other.json["n"]) for other in received[: cut + 1] + rest]
        assert len(read) == len(set(read))
        assert set(read) == everything
    assert (await http.get(path, headers={"Last-Event-ID": received[-1].id})).status_code == 204


async def test_many_jobs_tell_what_is_missing_of_which(http: httpx.AsyncClient, drive: Driver) -> None:
    a, b = await submitted(http), await submitted(http)
    await drive.finish(a, n_events=3)
    await drive.finish(b)
    await make_long(drive.client, a)
    await drive.client.xtrim(keys.events(a), minid="4-0", approximate=False)

    received = await read_frames(http, f"/events?job={a}&job={b}", headers=SSE)

    [gap] = [frame for frame in received if frame.event == "gap"]
    assert (gap.json["job_id"], gap.json["oldest"]) == (a, 4)
    rest = await read_frames(http, f"/events?job={a}&job={b}", headers={"Last-Event-ID": gap.id})
    assert "gap" not in {frame.event for frame in rest}


async def until_next_millisecond(drive: Driver) -> None:
    """By the clock of Redis. What happens in two queues in one has no order."""

    async def now_ms() -> int:
        s, us = await drive.client.time()
        return int(s) * 1000 + int(us) // 1000

    began = await now_ms()
    while await now_ms() == began:
        pass


async def test_all_jobs_are_replayed_in_the_order_in_which_it_happened(http: httpx.AsyncClient, drive: Driver) -> None:
    trained = await drive.publish()
    await until_next_millisecond(drive)
    inference = JobId((await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": 1})).json()["job_id"])
    await until_next_millisecond(drive)
    await drive.catalog.declare(LARGE)
    large = await submitted(http, queue=LARGE)
    for job_id in (large, inference):
        await until_next_millisecond(drive)
        await drive.finish(job_id)
    expected = [
        (trained, 1), (trained, 2), (trained, 3), (inference, 1), (large, 1),
        (large, 2), (large, 3), (inference, 2), (inference, 3),
    ]  # fmt: skip

    async def all_after(cursor: str) -> list[tuple[str, int]]:
        async with http.stream("GET", "/events?follow=false", headers={"Last-Event-ID": cursor}) as response:
            received.extend([frame async for frame in frames(response)])
        return [(frame.json["job_id"], frame.json["n"]) for frame in received]

    received: list[Frame] = []
    assert await all_after("0") == expected
    for cut, frame in enumerate(list(received)):
        received = []
        assert await all_after(frame.id) == expected[cut + 1 :]
    page = (await http.get("/events?after=0", headers=JSON)).json()
    assert [(event["job_id"], event["n"]) for event in page["events"]] == expected
    assert (await http.get("/events", headers=JSON, params={"after": page["next_after"]})).json()["events"] == []


async def test_without_a_cursor_only_what_happens_from_now_on_is_sent(http: httpx.AsyncClient, drive: Driver) -> None:
    await drive.publish()

    async with http.stream("GET", "/events") as response:
        chunks = response.aiter_bytes()
        await anext(chunks)
        with anyio.fail_after(5):
            # A queue that nobody served before, too, long before the next keep-alive.
            await drive.catalog.declare(QueueName("training-new"))
            job_id = await submitted(http, queue="training-new")
            text = await anext(chunks)

    assert text.count(b"\ndata: ") == 1
    assert f'data: {{"job_id":"{job_id}","n":1,'.encode() in text


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "a reader's cursor is older than the log of all jobs", sees="a `gap` event for each queue, then the log"
)
async def test_a_reader_of_all_jobs_gets_a_gap_for_changes_that_are_no_longer_kept(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    jobs = [await submitted(http) for _ in range(4)]
    everything = (await http.get("/events?after=0&follow=false", headers=NDJSON)).text.splitlines()
    ids = [entry.decode() for entry, _ in await drive.client.xrange(keys.log("training"))]  # type: ignore[arg-type]
    await drive.client.xtrim(keys.log("training"), minid=ids[2], approximate=False)  # type: ignore[arg-type]

    for cursor, missed in ((ids[0], True), (ids[2], False)):
        path = f"/events?follow=false&after=training:{cursor}"
        received = await read_frames(http, path)
        page = (await http.get(path, headers=JSON)).json()["events"]
        gaps, rest = received[: int(missed)], received[int(missed) :]
        assert [(gap.event, gap.json["queue"]) for gap in gaps] == [("gap", "training")] * missed
        assert [gap.json["requested"] for gap in gaps] == [int(ids[0].split("-")[0])] * missed
        assert [frame.json["job_id"] for frame in rest] == (jobs[2:] if missed else jobs[3:])
        assert [event["event"] for event in page] == [frame.event for frame in received]
    assert len(everything) == 4


LINE_ENDS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\r\nh"


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("path", ["/jobs/{job_id}/events", "/events?job={job_id}"])
@pytest.mark.parametrize("is_live", [False, True])
async def test_no_character_within_an_event_ends_its_line_for_any_reader(
    http: httpx.AsyncClient, drive: Driver, media_type: str, path: str, is_live: bool
) -> None:
    """str.splitlines, and so httpx and requests, end lines at more characters than the standard does."""
    job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
    claim = await drive.begin(job_id)
    events = [Logged(line=LINE_ENDS), Logged(line="\u2028" * 3 + "é\u2027\u202a")]
    if not is_live:
        await drive.record(claim, *events)
        await drive.settle(claim, succeeded(LINE_ENDS), first=2)
    lines = []
    async with http.stream("GET", path.format(job_id=job_id), headers={"Accept": media_type}) as response:
        async for line in response.aiter_lines():
            lines.append(line)
            if is_live and "running" in line:
                await drive.record(claim, *events)
                await drive.settle(claim, succeeded(LINE_ENDS), first=2)
                is_live = False

    if media_type == "text/event-stream":
        assert {line.partition(":")[0] for line in lines} == {"", "retry", "id", "event", "data"}
        lines = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    found = [json.loads(line) for line in lines]
    assert [one["line"] for one in found if one["event"] == "log"] == [event.line for event in events]
    assert [one["result"] for one in found if one["event"] == "done"] == [LINE_ENDS]

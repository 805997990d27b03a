"""The `headrace` command against a real gateway: what it prints where, and how it exits."""

import json
import os
import pty
import re
import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Emitted, Logged, Measured, Progressed
from shared_schemas.ids import queue_of
from shared_schemas.outcome import Success
from worker_runtime import Attempt

from tests.support.workers import ScriptedHandler, bench, running_worker, success

BASE = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "FORCE_COLOR"))}
MISSING = "training-01kav000000000000000000000"
COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]")


def run_headrace(*arguments: str, url: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        input=stdin,
        env=BASE | {"HEADRACE_URL": url},
        capture_output=True,
        timeout=60,
        check=False,
    )


async def headrace(*arguments: str, url: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return await anyio.to_thread.run_sync(partial(run_headrace, *arguments, url=url, stdin=stdin))


def on_a_terminal(*arguments: str, url: str, **environment: str) -> bytes:
    """What the command writes to a terminal."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", *arguments],
        env=BASE | {"HEADRACE_URL": url, "TERM": "xterm-256color", "COLUMNS": "100"} | environment,
        stdin=far,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    written = bytearray()
    try:
        while chunk := os.read(near, 4096):
            written += chunk
    except OSError:  # Linux reports the closed other end so
        pass
    os.close(near)
    assert process.wait(timeout=60) == 0, written
    return bytes(written)


async def telling(attempt: Attempt) -> Success:
    await attempt.record(Logged(line="opening the data"))
    for step in range(1, 21):
        await attempt.record(Measured(split="train", step=step, values={"loss": 1.0 / step}))
        await attempt.record(Progressed(fraction=step / 20, step=step, total=20))
    await attempt.record(Emitted(chunk="Once upon", index=0))
    await attempt.record(Emitted(chunk=" a time", index=0))
    return success({"text": "Once upon a time", "finish_reason": "stop", "tokens": 4, "prompt_tokens": 1})


async def failing(attempt: Attempt) -> Success:
    raise AttemptFailed("no_good", "this cannot work")


async def test_submit_status_list_and_cancel_speak_json(gateway_url: str) -> None:
    submitted = await headrace("submit", "training", "mlp", "x.csv", "--tag", "t", "--json", url=gateway_url)
    reply: dict[str, Any] = json.loads(submitted.stdout)
    status = json.loads((await headrace("status", reply["job_id"], "--json", url=gateway_url)).stdout)
    listed = json.loads((await headrace("list", "--tag", "t", "--json", url=gateway_url)).stdout)
    cancelled = await headrace("cancel", reply["job_id"], "--json", url=gateway_url)
    refused = await headrace("pause", reply["job_id"], url=gateway_url)
    ended = await headrace("result", reply["job_id"], "--json", url=gateway_url)
    again = await headrace("retry", reply["job_id"], "--json", url=gateway_url)

    assert submitted.returncode == 0
    assert (status["status"], status["queue_position"]) == ("queued", 0)
    assert [row["id"] for row in listed] == [reply["job_id"]]
    assert json.loads(cancelled.stdout)["status"] == "cancelled"
    assert (refused.returncode, refused.stdout) == (4, b"")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["state"] == "cancelled"
    assert again.returncode == 0
    assert json.loads(again.stdout)["job_id"] != reply["job_id"]


async def test_a_body_may_come_from_stdin_and_a_wrong_one_is_named(gateway_url: str) -> None:
    right = b'{"model_type": "mlp", "data_path": "x.csv"}'
    wrong = b'{"model_type": "mlp", "data_path": 3}'

    taken = await headrace("submit", "training", "--json-body", "-", "--json", url=gateway_url, stdin=right)
    refused = await headrace("submit", "training", "--json-body", "-", "--json", url=gateway_url, stdin=wrong)

    assert taken.returncode == 0
    assert refused.returncode == 2
    assert refused.stdout == b""
    assert b"/data_path" in refused.stderr


async def test_what_is_not_there_is_exit_code_3(gateway_url: str) -> None:
    for command in (("status", MISSING), ("watch", MISSING), ("events", MISSING), ("submit", "inference", "no", "x")):
        done = await headrace(*command, url=gateway_url)
        assert done.returncode == 3, command
        assert b"Traceback" not in done.stderr


async def test_waiting_too_long_is_exit_code_6(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        done = await headrace("result", job_id, "--timeout", "0.3", url=gateway_url)

    assert done.returncode == 6


async def test_watch_on_a_pipe_is_plain_and_prints_the_result(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(telling)):
        job_id = await jobs.submit()
        plain = await headrace("watch", job_id, url=gateway_url)
        as_json = await headrace("watch", job_id, "--json", url=gateway_url)

    assert plain.returncode == as_json.returncode == 0
    assert b"\x1b" not in plain.stdout
    for part in (b"opening the data", b"100%", b"Once upon a time", b"succeeded", b"[4 tokens, stop]"):
        assert plain.stdout.count(part) == 1
    assert json.loads(as_json.stdout)["result"]["text"] == "Once upon a time"
    assert b"opening the data" in as_json.stderr


async def test_status_and_watch_say_what_a_job_waits_for(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        first = await jobs.submit()
        submitted = await headrace(
            "submit", "training", "mlp", "x.csv", "--depends-on", first, "--json", url=gateway_url
        )  # fmt: skip
        second = json.loads(submitted.stdout)["job_id"]
        alone = await headrace("status", first, url=gateway_url)
        dependent = await headrace("status", second, url=gateway_url)
        await headrace("cancel", first, url=gateway_url)
        await jobs.done(second)
        ended = await headrace("result", second, url=gateway_url)

    assert f"for a worker: none serves the queue {queue_of(first)}".encode() in alone.stdout
    assert f"for {first} to succeed".encode() in dependent.stdout
    assert f"{first}, which this job depends on, was cancelled".encode() in ended.stderr


async def test_a_job_that_fails_is_exit_code_1_with_its_reason(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(failing)):
        job_id = await jobs.submit()
        done = await headrace("watch", job_id, url=gateway_url)
        dead = await headrace("dead-letters", "list", "--json", url=gateway_url)

    assert done.returncode == 1
    assert b"this cannot work" in done.stderr
    assert [row["error"]["code"] for row in json.loads(dead.stdout)] == ["no_good"]


async def test_events_and_replay_show_a_finished_job_again(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(telling)):
        job_id = await jobs.submit()
        await jobs.done(job_id)
        lines = (await headrace("events", job_id, "--json", url=gateway_url)).stdout.splitlines()
        later = (await headrace("events", job_id, "--after", "5", "--json", url=gateway_url)).stdout.splitlines()
        readable = await headrace("events", job_id, url=gateway_url)
        replayed = await headrace("replay", job_id, "--speed", "100", url=gateway_url)

    events = [json.loads(line) for line in lines]
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["event"] == "done"
    assert later == lines[5:]
    assert len(readable.stdout.splitlines()) == len(events)
    assert replayed.returncode == 0
    assert replayed.stdout.count(b"Once upon a time") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_colours_are_for_terminals_that_want_them(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(telling)):
        job_id = await jobs.submit()
        await jobs.done(job_id)
        coloured = await anyio.to_thread.run_sync(partial(on_a_terminal, "watch", job_id, url=gateway_url))
        plain = await anyio.to_thread.run_sync(partial(on_a_terminal, "watch", job_id, url=gateway_url, NO_COLOR="1"))

    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    for written in (coloured, plain):
        assert b"step 20/20" in written
        assert "▁".encode() in written

"""Each documented exit code from a real command, and the message beside it."""

import json
import subprocess
import sys
from functools import partial
from typing import Any

import anyio.to_thread
import pytest
from headrace.commands import EXIT_CODES
from headrace.commands.command import ExitCode
from headrace_local.system import free_port
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from worker_runtime import Attempt

from tests.client.test_commands import BASE, MISSING, headrace
from tests.client.test_wire import answering
from tests.support.workers import ScriptedHandler, bench, running_worker, success

NOWHERE = f"http://127.0.0.1:{free_port()}"


async def giving_an_answer(attempt: Attempt) -> Success:
    return success({"answer": 42})


def test_every_code_is_documented() -> None:
    documented = {int(line.split()[0]) for line in EXIT_CODES.splitlines()[1:]}

    assert documented == {*ExitCode, 141}


async def test_each_code_stands_for_what_its_line_says(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(giving_an_answer)):
        good = await jobs.submit()
        await jobs.done(good)
    async with bench(redis_url) as jobs:
        waiting = await jobs.submit()
        cancelled = await headrace("cancel", waiting, url=gateway_url)
        queued = await jobs.submit()

        table: list[tuple[int, tuple[str, ...]]] = [
            (0, ("status", good)),
            (0, ("result", good)),
            (0, ("list", "--state", "succeeded,cancelled")),
            (0, ("--version",)),
            (1, ("result", waiting)),
            (1, ("watch", waiting)),
            (2, ("list", "--limit", "0")),
            (2, ("status",)),
            (3, ("status", "not-an-id")),
            (2, ("submit", "training", "mlp", "x.csv", "--priority", "urgent")),
            (2, ("list", "--url", "nonsense")),
            (3, ("status", MISSING)),
            (3, ("models", "nowhere")),
            (4, ("pause", waiting)),
            (6, ("result", queued, "--no-wait")),
            (6, ("result", queued, "--timeout", "0.1")),
        ]
        for code, command in table:
            done = await headrace(*command, url=gateway_url)
            assert done.returncode == code, (command, done.stdout, done.stderr)
            assert bool(done.stderr) == (code != 0), command
            assert b"Traceback" not in done.stderr
    away = await headrace("status", MISSING, url=NOWHERE)

    assert cancelled.returncode == 0
    assert away.returncode == 5


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b'{"type":"","title":"t","status":500,"detail":"d","instance":"","code":"internal","request_id":"r"}', 7),
        (b"<html>", 7),
    ],
)
async def test_an_error_inside_the_gateway_is_7(answer: bytes, code: int) -> None:
    head = f"HTTP/1.1 500 Oh\r\ncontent-length: {len(answer)}\r\n\r\n".encode()
    with answering(head + answer) as url:
        done = await headrace("status", MISSING, url=url)

    assert done.returncode == code
    assert b"Traceback" not in done.stderr


async def test_the_same_key_for_another_job_is_a_conflict(gateway_url: str) -> None:
    first = await headrace("submit", "training", "mlp", "x.csv", "--idempotency-key", "k", url=gateway_url)
    other = await headrace("submit", "training", "mlp", "y.csv", "--idempotency-key", "k", url=gateway_url)

    assert (first.returncode, other.returncode) == (0, 4)


async def test_a_list_of_states_may_be_written_in_several_ways(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        one, two = await jobs.submit(), await jobs.submit()
        await headrace("cancel", one, url=gateway_url)
        await jobs.until_state(one, JobState.CANCELLED)

    for options, expected in (
        (["--state", "cancelled"], {one}),
        (["--status", "cancelled"], {one}),
        (["--state", "cancelled,queued"], {one, two}),
        (["--state", "cancelled", "--state", "queued"], {one, two}),
        (["--state=failed"], set()),
    ):
        done = await headrace("list", *options, "--json", url=gateway_url)
        assert {row["id"] for row in json.loads(done.stdout)} == expected, options


def run(*arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        env=BASE | {"HEADRACE_URL": NOWHERE}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lisst",), ("is it 'list'?", "submit training", "dead-letters purge", "up, demo")),
        (("submit", "trainig"), ("is it 'submit training'?", "submit inference")),
        (("dead-letters", "lst"), ("dead-letters list", "dead-letters show")),
        (("--json", "list"), ("options go after a command",)),
        (("list", "--state", "sleeping"), ("'sleeping' is unknown", "scheduled, queued, running, paused")),
        (("list", "--state", "failed,sleeping"), ("'sleeping' is unknown",)),
        (("list", "--kind", "trainig"), ("use one of training, inference",)),
        (("submit", "training", "mlp", "x", "--priority", "urgent"), ("use one of high, normal, low",)),
        (("list", "--limit", "many"), ("not a whole number",)),
        (("list", "--limit", "\uff11\uff10"), ("not a whole number",)),
        (("list", "--limit", "1_0"), ("not a whole number",)),
        (("submit", "training", "mlp", "x", "--epochs", "1_0"), ("not a whole number",)),
        (("submit", "inference", "m", "x", "--temperature", "0_1"), ("not a number",)),
        (("result", MISSING, "--timeout", "\uff11"), ("not a number",)),
        (("result", MISSING, "--timeout", "nan"), ("not at least 0",)),
        (("list", "--limt", "3"), ("unrecognized arguments: --limt",)),
        (("completion", "tcsh"), ("bash", "zsh", "fish")),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_known(arguments: tuple[str, ...], message: tuple[str, ...]) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    for part in message:
        assert part in done.stderr


def test_texts_that_look_like_options_and_options_between_arguments_are_read() -> None:
    done = run("submit", "inference", "m", "--tag", "a", "one text", "--", "-another text", "--not-an-option")

    assert done.returncode == 5, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_commands_and_options(shell: str) -> None:
    done = run("completion", shell)

    assert done.returncode == 0
    for word in ("dead-letters", "workers", "up", "max-attempts", "data-dir"):
        assert word in done.stdout


def test_bash_completes_commands_and_options() -> None:
    script = """
eval "$(%s -m headrace.cli completion bash)"
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _headrace; echo "${COMPREPLY[@]}"; }
complete_words headrace li
complete_words headrace submit tr
complete_words headrace submit training --wa
complete_words headrace list --st
"""
    done = subprocess.run(
        ["bash", "-c", script % sys.executable], env=BASE, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines() == ["list", "training", "--watch --wait", "--state --status"]


async def test_the_version_needs_no_gateway() -> None:
    done = await anyio.to_thread.run_sync(partial(run, "--version"))

    assert done.stdout.startswith("headrace 0.")

"""The command line with unusual outputs: other encodings, closed pipes, narrow terminals."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from headrace import Client
from headrace.commands.ctrl_c import interruptible
from headrace.ink import Card, Lines, Text
from shared_schemas.events import Emitted, Logged, Progressed
from shared_schemas.outcome import Success
from worker_runtime import Attempt

from tests.client.test_commands import BASE
from tests.support.workers import ScriptedHandler, bench, running_worker, success

ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "cp437"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
ODD = "naïve “quote” · 漢字 🚀"


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        env=BASE | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


async def telling(attempt: Attempt) -> Success:
    await attempt.record(Logged(line=ODD))
    await attempt.record(Progressed(fraction=1.0, step=1, total=1, message=ODD))
    await attempt.record(Emitted(chunk=ODD, index=0))
    return success({"text": ODD, "finish_reason": "stop", "tokens": 4, "prompt_tokens": 1})


@pytest.mark.parametrize("environment", ENCODINGS, ids=lambda row: next(iter(row.values())) + str(len(row)))
async def test_what_an_output_cannot_hold_is_replaced_in_every_command(
    gateway_url: str, redis_url: str, environment: dict[str, str]
) -> None:
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(telling)):
        job_id = await jobs.submit()
        await jobs.done(job_id)
    for command in (
        ["watch", job_id],
        ["events", job_id],
        ["replay", job_id, "--speed", "100"],
        ["result", job_id],
        ["status", job_id],
        ["attempts", job_id],
        ["list"],
        ["models"],
        ["queues"],
        ["workers"],
        ["dead-letters", "list"],
        ["--help"],
        ["submit", "--help"],
        ["completion", "bash"],
    ):
        done = run(*command, HEADRACE_URL=gateway_url, **environment)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), (command, done.stderr)
        assert done.stdout
    for command in (["result", job_id, "--json"], ["events", job_id, "--json"]):
        done = run(*command, HEADRACE_URL=gateway_url, **environment)
        assert done.returncode == 0, done.stderr
        values = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert ODD in json.dumps(values, ensure_ascii=False)


@pytest.mark.parametrize("environment", ENCODINGS, ids=lambda row: next(iter(row.values())) + str(len(row)))
def test_an_error_is_printed_where_stderr_cannot_encode_it(environment: dict[str, str]) -> None:
    done = run("no “such” ✓ command 漢", **environment)

    assert done.returncode == 2
    assert b"there is no command" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["--help"], ["list", "--help"], ["completion", "bash"], ["list", "--json"]])
def test_a_pipe_that_is_closed_is_no_traceback(gateway_url: str, command: list[str]) -> None:
    near, far = os.pipe()
    os.close(near)
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", *command],
        env=BASE | {"HEADRACE_URL": gateway_url},
        stdout=far,
        stderr=subprocess.PIPE,
    )
    os.close(far)
    _, stderr = process.communicate(timeout=60)

    assert (process.returncode, stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_disk_that_is_full_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "headrace.cli", "--help"], env=BASE, stdout=full, stderr=subprocess.PIPE, timeout=60,
            check=False,
        )  # fmt: skip

    assert done.returncode == 7
    assert len(done.stderr.splitlines()) == 1
    assert b"the output cannot be written" in done.stderr


def test_a_process_without_outputs_still_does_its_work() -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m headrace.cli --version >&- 2>&-"], env=BASE, timeout=60, check=False
    )

    assert done.returncode == 0


def test_a_child_of_a_shell_that_pipes_to_head_ends_quietly() -> None:
    script = f"{sys.executable} -m headrace.cli completion bash | head -n 1"
    done = subprocess.run(["sh", "-c", script], env=BASE, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_waiting_names_the_job_at_once_and_at_ctrl_c(gateway_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "submit", "training", "mlp", "x.csv", "--wait"],
        env=BASE | {"HEADRACE_URL": gateway_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    job_id = process.stderr.readline().split()[-1]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    with Client(gateway_url) as client:
        assert [row.id for row in client.list()] == [job_id]
    assert (process.returncode, out) == (130, "")
    assert f"headrace watch {job_id}" in err
    assert "Traceback" not in err


def test_a_ctrl_c_that_python_drops_comes_again() -> None:
    def drop_one_and_wait() -> None:
        with interruptible():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.sigtimedwait([signal.SIGUSR1], 20)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        drop_one_and_wait()

    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_text_is_as_wide_as_a_terminal_shows_it() -> None:
    text = Text.assemble(("漢字", "bold"), " ", "a" * 20)

    assert text.cell_len == 25
    assert text.fitted(25) is text
    assert text.fitted(6).plain == "漢字 …"
    assert text.fitted(4).plain == "漢…"
    assert text.fitted(3).plain == "漢…"
    assert text.fitted(1).plain == "…"
    assert Text("a").padded(3).plain == "a  "


def test_text_from_a_job_cannot_steer_the_terminal() -> None:
    drawn = Text("\x1b]0;title\x07\x9b31m\r\x00line\nnext").drawn(with_styles=True)

    assert drawn == "\ufffd]0;title\ufffd\ufffd31m\ufffd\ufffdline\nnext"


def test_styles_are_drawn_or_left_out() -> None:
    text = Text.assemble("a", ("b", "bold red"))

    assert text.drawn(with_styles=True) == "a\x1b[1;31mb\x1b[0m"
    assert text.drawn(with_styles=False) == "ab"


def test_cards_and_lines_are_aligned_and_cut() -> None:
    card = Card()
    card.add_row("job", "x")
    card.add_row("submitted", Text("now", "dim"))

    assert [line.plain for line in card.lines(80)] == ["job        x", "submitted  now"]
    assert [line.plain for line in Lines([Text("a" * 9)]).lines(5)] == ["aaaa…"]

"""The `headrace` command as a script sees it: exit codes, streams, plain text."""

import os
import subprocess
import sys

import pytest
from headrace_local.system import free_port

BASE = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "FORCE_COLOR"))}


def headrace(*arguments: str, url: str | None = None, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    environment = BASE if url is None else BASE | {"HEADRACE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_help_documents_the_exit_codes() -> None:
    done = headrace("--help")

    assert done.returncode == 0
    for line in (b"0  all well", b"3  no such job or model", b"5  cannot reach the gateway", b"130  Ctrl-C"):
        assert line in done.stdout


def test_a_gateway_that_is_away_is_exit_code_5_and_one_sentence(nowhere: str) -> None:
    done = headrace("list", "--json", url=nowhere)

    assert done.returncode == 5
    assert done.stdout == b""
    assert b"cannot reach the gateway" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("submit", "training", "mlp"),
        ("submit", "inference", "model"),
        ("submit", "training", "mlp", "x.csv", "--set", "width"),
        ("submit", "training", "mlp", "x.csv", "--set", "width=2"),
        ("submit", "training", "mlp", "x.csv", "--set", "unheard_of=2"),
        ("submit", "training", "mlp", "x.csv", "--json-body", "-"),
        ("submit", "inference", "model", "--row", "{"),
        ("list", "--status", "sleeping"),
        ("list", "--url", "http://[::1"),
        ("replay", "training-00000000000000000000000000", "--speed", "0"),
    ],
)
def test_wrong_usage_is_exit_code_2_before_anything_is_sent(nowhere: str, arguments: tuple[str, ...]) -> None:
    done = headrace(*arguments, url=nowhere)

    assert done.returncode == 2, done.stderr.decode()
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_up_and_demo_say_how_to_get_them_where_the_local_package_is_missing() -> None:
    # The command line knows the package only by its entry points.
    program = "from headrace.cli import main; main(entry_point_group='headrace.none')"
    done = subprocess.run(
        [sys.executable, "-c", program, "up", "--port", "1"], capture_output=True, timeout=60, check=False, env=BASE
    )

    assert done.returncode == 2
    assert b"headrace-local" in done.stderr

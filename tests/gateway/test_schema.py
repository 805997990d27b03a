"""The gateway does what its OpenAPI document says, whatever schemathesis thinks of sending."""

import sys
from pathlib import Path

import anyio
import pytest

from tests.support.gateways import ROOT, Driver, Gateway

# Each rule of each operation is broken whatever that says; more by hand, as CONTRIBUTING.md has it.
N_EXAMPLES = 4


@pytest.mark.schema
@pytest.mark.timeout(600)
async def test_nothing_that_can_be_sent_is_answered_otherwise_than_documented(gateway: Gateway, drive: Driver) -> None:
    await drive.publish()
    program = Path(sys.executable).with_name("schemathesis")
    # Two threads that parse Python at once can make ast.parse of CPython 3.11 fail (gh-106905), and hypothesis parses.
    options = ["--checks=all", f"--max-examples={N_EXAMPLES}", "--workers=1", "--no-color"]

    done = await anyio.run_process(
        [program, "run", f"{gateway.url}/openapi.json", *options, "--generation-database=none"], cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stdout.decode()[-20_000:]
    assert not [line for line in gateway.log() if line["level"] == "error"]

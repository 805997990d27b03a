"""A new kind of job needs a row in the table of kinds and a spec. Gateway, client and worker need
no other change.

The test adds both to a copy of `shared_schemas`, and every process that it starts imports this
copy.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import shared_schemas

from tests.support.gateways import running_gateway

ROOT = Path(__file__).parents[2]
ROW = '    ECHO = "echo", "Answer with the text that was sent.", False\n'
SPEC = '''\
class EchoSpec(JobOptions, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="echo"):
    """Answer with the text that was sent."""

    text: str


'''
PROGRAM = """
import sys
from headrace import Client

with Client(sys.argv[1]) as client:
    job = client.submit("echo", text="hello")
    events = [type(event).__name__ for event in client.events(job.job_id)]
    [listed] = client.list(kind="echo")
    client.submit_list([{"kind": "echo", "text": "one"}, {"text": "two"}])
    print(job.job_id.rpartition("-")[0], events[-2:], client.result(job.job_id), listed.kind)
"""


@pytest.fixture
def with_echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the test starts know the kind `echo`."""
    package = tmp_path / "shared_schemas"
    shutil.copytree(Path(shared_schemas.__file__).parent, package)
    with (package / "kinds.py").open("a") as table:
        table.write(ROW)
    specs = package / "specs.py"
    marker = "SPECS: dict["
    before, _, after = specs.read_text().partition(marker)
    specs.write_text(f"{before}{SPEC}{marker}{after}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@contextmanager
def echo_worker(redis_url: str) -> Iterator[None]:
    environment = os.environ | {"HEADRACE_REDIS_URL": redis_url}
    process = subprocess.Popen([sys.executable, "-m", "tests.support.echo_worker"], cwd=ROOT, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def run(*command: str, sent: str = "") -> str:
    done = subprocess.run([sys.executable, *command], input=sent, text=True, capture_output=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("with_echo")
def test_a_row_and_a_spec_make_a_new_kind_of_job(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path) as gateway, echo_worker(redis_url):
        printed = run("-c", PROGRAM, gateway.url)
        command = ("submit", "echo", "--json-body", "-", "--wait", "--url", gateway.url)
        answered = run("-m", "headrace.cli", *command, sent='{"text": "from the command line"}')
        listed = run("-m", "headrace.cli", "queues", "--json", "--url", gateway.url)
        with httpx.Client(base_url=gateway.url, trust_env=False) as client:
            document = client.get("/openapi.json").json()
            refused = client.post("/jobs/echo", json={"text": 5})

    assert printed.split(maxsplit=1) == ["echo", "['Emitted', 'Done'] hello echo\n"]
    assert "from the command line" in answered
    assert "echo" in {row["name"] for row in json.loads(listed)}
    assert document["paths"]["/jobs/echo"]["post"]["operationId"].startswith("submit_echo")
    assert "EchoSpec" in document["components"]["schemas"]
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/text")
    assert "echo" in run("-m", "headrace.cli", "--help")

"""A name with a line end behind it is no name, wherever it is given: in a body, path, query, option or setting."""

import json
import os
import subprocess
import sys
from typing import Any

import anyio
import httpx
import pytest

from tests.support.gateways import INFERENCE, MODEL, TRAINING, TRAINING_BODY, Driver, Gateway

PARENT = f"{TRAINING}-01arz3ndektsv4rrffq69g5fav"
INFERENCE_BODY = {"model_id": MODEL, "input_data": 1}
# kind, field, a name that may stand there; {} is where it stands.
FIELDS: list[tuple[str, str, Any]] = [
    ("training", "output_model", "model_a"),
    ("training", "model_type", "transformer"),
    ("training", "queue", TRAINING),
    ("training", "tags", ["red"]),
    ("training", "priority", "high"),
    ("training", "task", "classification"),
    ("training", "depends_on", [PARENT]),
    ("training", "resume_from", PARENT),
    ("training", "data_path", "train.csv"),
    ("training", "validation_path", "train.csv"),
    ("training", "run_at", "2030-01-31T12:00:00Z"),
    ("inference", "model_id", MODEL),
    ("inference", "model_id", f"{MODEL}@1"),
    ("inference", "model_id", f"{MODEL}@latest"),
    ("inference", "model_id", PARENT),
    ("inference", "queue", INFERENCE),
    ("inference", "tags", ["red"]),
]
ENDS = ["\n", "\r\n", "\r", "\x00", " \n"]
REQUESTS = [
    ("GET", f"/models/{MODEL}%0A", None),
    ("GET", f"/models/{MODEL}/versions/1%0A", None),
    ("GET", f"/models/{MODEL}/versions/latest%0A", None),
    ("PUT", f"/models/{MODEL}/aliases/prod%0A", {"version": 1}),
    ("PUT", f"/models/{MODEL}%0A/aliases/prod", {"version": 1}),
    ("GET", f"/jobs/{PARENT}%0A", None),
    ("GET", f"/jobs/{PARENT}%0A/events", None),
    ("POST", f"/jobs/{PARENT}%0A/cancel", None),
    ("GET", "/jobs?tag=red%0A", None),
    ("GET", f"/jobs?queue={TRAINING}%0A", None),
    ("GET", "/jobs?kind=training%0A", None),
    ("GET", "/jobs?status=queued%0A", None),
    ("GET", "/jobs?limit=1%0A", None),
    ("GET", f"/queues/{TRAINING}%0A", None),
    ("GET", f"/dead-letters?queue={TRAINING}%0A", None),
    ("GET", f"/dead-letters/{PARENT}%0A", None),
    ("POST", "/dead-letters/purge", {"queue": f"{TRAINING}\n"}),
    ("GET", f"/events?job={PARENT}%0A", None),
    ("GET", "/events?after=0%0A", None),
    ("GET", f"/events?after={TRAINING}:1-1%0A", None),
]


def ended_by(value: Any, end: str) -> Any:
    return [part + end for part in value] if isinstance(value, list) else value + end


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize(("kind", "field", "value"), FIELDS, ids=[f"{row[1]}={row[2]}" for row in FIELDS])
async def test_a_name_in_a_body_ends_where_it_ends(
    http: httpx.AsyncClient, drive: Driver, kind: str, field: str, value: Any, end: str
) -> None:
    await drive.publish()
    n_jobs = await drive.count_jobs()
    body = {**(TRAINING_BODY if kind == "training" else INFERENCE_BODY), field: ended_by(value, end)}

    answer = await http.post(f"/jobs/{kind}", json=body)

    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await drive.count_jobs() == n_jobs


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=[f"{row[0]} {row[1]}" for row in REQUESTS])
async def test_a_name_in_a_path_or_a_query_ends_where_it_ends(
    http: httpx.AsyncClient, drive: Driver, method: str, path: str, body: object
) -> None:
    await drive.publish()

    answer = await http.request(method, path, json=body)

    assert answer.status_code in (404, 422), answer.text
    [model] = (await http.get("/models")).json()["models"]
    assert model["aliases"] == ["latest"]


OPTIONS = [["--name", "model_a\n"], ["--tag", "red\n"], ["--queue", f"{TRAINING}\n"], ["--depends-on", f"{PARENT}\n"]]


@pytest.mark.parametrize("options", OPTIONS, ids=[row[0] for row in OPTIONS])
async def test_a_name_on_the_command_line_ends_where_it_ends(
    gateway: Gateway, http: httpx.AsyncClient, drive: Driver, options: list[str]
) -> None:
    command = ["submit", "training", "transformer", "train.csv", "--url", gateway.url, *options]

    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-m", "headrace.cli", *command], check=False)

    assert done.returncode == 2, done.stderr
    assert await drive.count_jobs() == 0


@pytest.mark.parametrize("part", ["training_worker", "inference_worker"])
def test_a_name_in_a_setting_ends_where_it_ends(redis_url: str, part: str) -> None:
    queue = TRAINING if part == "training_worker" else INFERENCE
    environment = os.environ | {"HEADRACE_REDIS_URL": redis_url, "HEADRACE_QUEUES": f"{queue}\n.1"}

    done = subprocess.run(
        [sys.executable, "-m", part], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == os.EX_CONFIG
    assert "HEADRACE_QUEUES: a queue is named" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_document_has_patterns_that_other_languages_read(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).text

    patterns = [part["pattern"] for part in _with_patterns(json.loads(document))]
    assert len(patterns) > 5
    assert all(pattern.startswith("^") and pattern.endswith("$") for pattern in patterns)
    assert "\\\\Z" not in document


def _with_patterns(node: object) -> list[dict[str, str]]:
    if isinstance(node, dict):
        here = [node] if isinstance(node.get("pattern"), str) else []
        return here + [found for value in node.values() for found in _with_patterns(value)]
    return [found for value in node for found in _with_patterns(value)] if isinstance(node, list) else []

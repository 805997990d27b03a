"""The document that /docs shows is made of the Structs that decode, and says nothing that is not so."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
from shared_schemas.specs import InferenceSpec, TrainingSpec

from tests.support.gateways import MODEL, Driver

EXPECTED = {
    ("post", "/jobs/training"),
    ("post", "/jobs/inference"),
    ("post", "/jobs/publishing"),
    ("post", "/models"),
    ("get", "/jobs"),
    ("get", "/jobs/{job_id}"),
    ("get", "/jobs/{job_id}/status"),
    ("get", "/jobs/{job_id}/result"),
    ("get", "/jobs/{job_id}/attempts"),
    ("get", "/jobs/{job_id}/events"),
    *(("post", f"/jobs/{{job_id}}/{verb}") for verb in ("cancel", "pause", "resume", "retry", "replay")),
    ("get", "/events"),
    ("post", "/batches"),
    ("get", "/batches"),
    ("get", "/batches/{batch_id}"),
    ("get", "/batches/{batch_id}/output"),
    ("get", "/batches/{batch_id}/errors"),
    ("post", "/batches/{batch_id}/cancel"),
    ("get", "/models"),
    ("get", "/models/{name}"),
    ("get", "/models/{name}/versions/{version}"),
    ("delete", "/models/{name}/versions/{version}"),
    ("get", "/models/{name}/versions/{version}/file"),
    ("put", "/files/{sha256}"),
    ("get", "/files/{sha256}"),
    ("delete", "/jobs/{job_id}"),
    ("put", "/models/{name}/aliases/{alias}"),
    ("delete", "/models/{name}/aliases/{alias}"),
    ("get", "/queues"),
    ("get", "/recipes"),
    ("get", "/queues/{name}"),
    ("get", "/workers"),
    ("get", "/dead-letters"),
    ("get", "/dead-letters/{job_id}"),
    ("post", "/dead-letters/retry"),
    ("post", "/dead-letters/purge"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/stats"),
    *(
        ("get", f"/v2/models/{{name}}{version}{suffix}")
        for version in ("", "/versions/{version}")
        for suffix in ("", "/ready", "/config", "/stats")
    ),
    ("post", "/v2/models/{name}/infer"),
    ("post", "/v2/models/{name}/versions/{version}/infer"),
    ("post", "/v2/repository/index"),
    ("post", "/v2/repository/models/{name}/load"),
    ("post", "/v2/repository/models/{name}/unload"),
}


@pytest.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await http.get("/openapi.json")).json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == EXPECTED


async def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    found = set(references(document))

    assert len(found) > 20
    for reference in found:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert isinstance(node, dict)


async def test_every_operation_has_its_parameters_answers_and_problems(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        in_path = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        described = [(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", ())]
        assert {name for place, name in described if place == "path"} == in_path, path
        assert len(described) == len(set(described)), path
        assert operation["summary"], path
        assert operation["description"], path
        for status, answer in operation["responses"].items():
            assert answer["description"], path
            if status.startswith(("4", "5")) and path != "/readyz":
                media_type, schema = (
                    ("application/json", "/OipError")
                    if path.startswith("/v2")
                    else ("application/problem+json", "/Problem")
                )
                assert answer["content"][media_type]["schema"]["$ref"].endswith(schema), (method, path, status)


@pytest.mark.parametrize(("path", "spec"), [("/jobs/training", TrainingSpec), ("/jobs/inference", InferenceSpec)])
async def test_the_seed_commands_are_the_examples_and_valid(
    document: dict[str, Any], path: str, spec: type[msgspec.Struct]
) -> None:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]

    assert isinstance(msgspec.convert(content["example"], spec), spec)
    one, many = content["schema"]["oneOf"]
    assert one["$ref"].endswith(f"/{spec.__name__}")
    assert many["items"] == one
    schema = document["components"]["schemas"][spec.__name__]
    assert set(schema["required"]) - {"kind"} == set(content["example"])


async def test_answers_have_the_fields_that_are_described(
    http: httpx.AsyncClient, drive: Driver, document: dict[str, Any]
) -> None:
    await drive.publish()
    job = (await http.post("/jobs/inference", json={"model_id": MODEL, "input_data": 1})).json()

    for path, name in [
        (f"/jobs/{job['job_id']}", "JobDetails"),
        (f"/jobs/{job['job_id']}/status", "JobStatus"),
        ("/jobs", "JobPage"),
        ("/queues/inference", "QueueStatus"),
        (f"/models/{MODEL}/versions/1", "Model"),
    ]:
        body, schema = (await http.get(path)).json(), document["components"]["schemas"][name]
        assert set(body) <= set(schema["properties"]), path
        assert set(schema.get("required", ())) <= set(body), path


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_page_needs_nothing_from_elsewhere_under_whatever_path_it_is(
    http: httpx.AsyncClient, path: str
) -> None:
    """As behind a proxy that serves the gateway under /headrace, which it strips."""
    page = (await http.get(path)).text

    assert "https://" not in page
    needed = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'""", page)
    found = [urljoin(f"https://example.org/headrace{path}", one or other) for one, other in needed]
    assert {url.rpartition("/")[2] for url in found} == {
        "favicon.png", "openapi.json", "swagger-ui-bundle.js", "swagger-ui.css"
    }  # fmt: skip
    for url in found:
        at, stripped = url.split("/headrace")
        assert (at, (await http.get(stripped)).status_code) == ("https://example.org", 200), url


async def test_calls_from_the_page_go_where_the_document_is(document: dict[str, Any]) -> None:
    [server] = document["servers"]

    assert urljoin("https://example.org/headrace/openapi.json", server["url"]) == "https://example.org/headrace/"

"""A gateway with an inference worker and a publishing worker, and what a user sends to publish."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from onnx import TensorProto, helper

from tests.support.gateways import Gateway, running_gateway
from tests.support.inference_process import PUBLISHING, inference_process
from tests.support.onnx_tensors import graph

WAIT = {"Prefer": "wait=60"}


class Publisher:
    """Sends requests as a user does."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def upload(self, contents: bytes) -> dict[str, Any]:
        """-> how a body names the file"""
        sha256 = hashlib.sha256(contents).hexdigest()
        stored = await self.http.put(f"/files/{sha256}", content=contents)
        assert stored.status_code == 201, stored.text
        return {"sha256": sha256, "n_bytes": stored.json()["n_bytes"]}

    async def submit(self, contents: bytes, name: str, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """-> the answer to POST /models"""
        body = {"name": name, "onnx": await self.upload(contents), **body}
        answer = await self.http.post("/models", json=body, headers=headers or {})
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    async def publish(self, contents: bytes, name: str, **body: Any) -> Any:
        """-> the job, once it has ended"""
        return await self.submit(contents, name, headers=WAIT, **body)

    async def ended(self, job_id: str) -> Any:
        """The job, once it has ended."""
        async with self.http.stream("GET", f"/jobs/{job_id}/events") as events:
            async for _ in events.aiter_bytes():
                pass
        return (await self.http.get(f"/jobs/{job_id}")).json()

    async def versions(self, name: str) -> list[int]:
        answer = await self.http.get(f"/models/{name}")
        return [each["version"] for each in answer.json().get("versions", ())]

    async def ask(self, model_id: str, input_data: Any) -> Any:
        answer = await self.http.post(
            "/jobs/inference", json={"model_id": model_id, "input_data": input_data}, headers=WAIT
        )
        assert answer.json()["status"] == "succeeded", answer.text
        return answer.json()["result"]


@contextmanager
def publishing_system(
    redis_url: str, folder: Path, *, serving: Mapping[str, object] | None = None, **settings: object
) -> Iterator[Gateway]:
    """serving: settings of the inference worker. settings: of the publishing worker."""
    artifacts = folder / "artifacts"
    with (
        running_gateway(redis_url, folder) as gateway,
        inference_process(redis_url, artifacts, **(serving or {})),
        inference_process(redis_url, artifacts, module=PUBLISHING, **settings),
    ):
        yield gateway


@asynccontextmanager
async def publisher(gateway: Gateway) -> AsyncIterator[Publisher]:
    async with gateway.client(timeout=90) as http:
        yield Publisher(http)


def of_one_node(
    op: str, inputs: Sequence[str] = ("x",), *, domain: str = "", opset: int = 21, own: str = "", **attributes: Any
) -> bytes:
    """x [n] -> y, by one operator. own: a domain that the model imports besides."""
    node = helper.make_node(op, inputs, ["y"], domain=domain, **attributes)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(each, 1) for each in {domain, own} - {""})]
    made = helper.make_model(helper.make_graph([node], "graph", [x], [y]), opset_imports=imports, ir_version=10)
    return bytes(made.SerializeToString())


def a_huge_tensor() -> bytes:
    """x [1] -> y [10^12]."""
    size = helper.make_node("Constant", [], ["size"], value_ints=[10**12])
    nodes = [size, helper.make_node("Expand", ["x", "size"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    return graph(nodes, [x], [y])

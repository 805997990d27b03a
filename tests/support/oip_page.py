"""Makes the list of the stock client's methods in docs/open-inference-protocol.md: each public method is called against
a running gateway, and what came of it is written down.

`tests/oip/test_page.py` does so, and compares. This writes the list:

OIP_PAGE=write pytest tests/oip/test_page.py
"""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from tritonclient.http import InferenceServerClient, InferenceServerClientPlugin, InferInput
from tritonclient.utils import InferenceServerException

from tests.support.gateways import ROOT
from tests.support.lists import item, wrapped

WRITE = "OIP_PAGE"
COMMAND = "OIP_PAGE=write uv run pytest -n 0 tests/oip/test_page.py"
PAGE = ROOT / "docs" / "open-inference-protocol.md"
_BETWEEN = re.compile(r"(<!-- triton: [^\n]* -->\n).*(<!-- end of triton -->\n)", re.DOTALL)


class _Header(InferenceServerClientPlugin):
    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), "X-Request-ID": "from-a-plugin"}


def calls(client: InferenceServerClient, model: str) -> dict[str, Callable[[], Any]]:
    """How each method is called. model: takes `x`, FP32 [n, 2]."""
    given = InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.ones((1, 2), dtype=np.float32))
    plugin = _Header()
    return {
        "register_plugin": lambda: client.register_plugin(plugin),
        "plugin": lambda: client.plugin(),
        "is_server_live": lambda: _true(client.is_server_live()),
        "is_server_ready": lambda: _true(client.is_server_ready()),
        "is_model_ready": lambda: _true(client.is_model_ready(model)),
        "get_server_metadata": lambda: client.get_server_metadata()["name"],
        "get_model_metadata": lambda: client.get_model_metadata(model)["inputs"],
        "get_model_config": lambda: client.get_model_config(model)["input"],
        "get_model_repository_index": lambda: client.get_model_repository_index()[0]["name"],
        "get_inference_statistics": lambda: client.get_inference_statistics(model)["model_stats"],
        "infer": lambda: client.infer(model, [given]).as_numpy("y").shape,
        "async_infer": lambda: client.async_infer(model, [given]).get_result().as_numpy("y").shape,
        "generate_request_body": lambda: client.generate_request_body([given]),
        "parse_response_body": lambda: client.parse_response_body(b'{"outputs": []}').get_response(),
        "load_model": lambda: client.load_model(model),
        "unload_model": lambda: client.unload_model(model),
        "get_trace_settings": lambda: client.get_trace_settings(),
        "update_trace_settings": lambda: client.update_trace_settings(settings={"trace_level": "OFF"}),
        "get_log_settings": lambda: client.get_log_settings(),
        "update_log_settings": lambda: client.update_log_settings({"log_info": True}),
        "get_system_shared_memory_status": lambda: client.get_system_shared_memory_status(),
        "register_system_shared_memory": lambda: client.register_system_shared_memory("region", "/key", 8),
        "unregister_system_shared_memory": lambda: client.unregister_system_shared_memory("region"),
        "get_cuda_shared_memory_status": lambda: client.get_cuda_shared_memory_status(),
        "register_cuda_shared_memory": lambda: client.register_cuda_shared_memory("region", b"handle", 0, 8),
        "unregister_cuda_shared_memory": lambda: client.unregister_cuda_shared_memory("region"),
        "unregister_plugin": lambda: client.unregister_plugin(),
        "close": lambda: client.close(),
    }


def public_methods() -> set[str]:
    found = inspect.getmembers(InferenceServerClient, inspect.isroutine)
    return {name for name, _ in found if not name.startswith("_")}


def outcomes(client: InferenceServerClient, model: str) -> Iterator[tuple[str, str]]:
    """-> (method, "works" or the error that the client shows), in the order of `calls`"""
    for name, call in calls(client, model).items():
        try:
            call()
        except InferenceServerException as error:
            yield name, f"{error.status()}: {error.message()}"
        else:
            yield name, "works"


def made(text: str, found: dict[str, str]) -> str:
    """The page with the list of these outcomes."""
    works = [f"`{name}`" for name, outcome in found.items() if outcome == "works"]
    refused: dict[str, list[str]] = {}
    for name, outcome in found.items():
        if outcome != "works":
            refused.setdefault(outcome, []).append(f"`{name}`")
    release = version("tritonclient")
    lines = [
        wrapped(f"Each public method of `InferenceServerClient` in tritonclient {release} was called at a gateway.")
        + "\n",
        item(f"These work: {', '.join(works)}."),
        *(item(f"{', '.join(names)}: {outcome}.") for outcome, names in refused.items()),
    ]
    return _BETWEEN.sub(lambda match: f"{match[1]}\n{lines[0]}\n{''.join(lines[1:])}\n{match[2]}", text)


def _true(value: object) -> None:
    assert value is True

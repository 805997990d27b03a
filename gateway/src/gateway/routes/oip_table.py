"""The routes of the Open Inference Protocol (KServe v2), one row each. Holds no logic."""

from gateway.routes import infer, oip
from gateway.routes.route import Answer, Handler, Header, Route
from gateway.surfaces.v2.request import BINARY_HEADER
from gateway.surfaces.v2.schemas import (
    OipConfig,
    OipError,
    OipIndexEntry,
    OipIndexRequest,
    OipInferRequest,
    OipInferResponse,
    OipLive,
    OipLoaded,
    OipLoadRequest,
    OipModel,
    OipModelReady,
    OipReady,
    OipServer,
    OipStats,
)

_TAG = "open inference protocol"
_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"
_OF_A_MODEL = (404, 501, 503)
_HEADERS = (
    Header(BINARY_HEADER, "How many bytes of the body are JSON. Binary data follows.", pattern=r"^[0-9]{1,16}\Z"),
    Header("Content-Encoding", "Of the body.", pattern=r"^(gzip|deflate|identity)\Z"),
    Header("Idempotency-Key", "As for `POST /jobs/inference`: the same request again gets the answer of the same job."),
)
_EXAMPLE = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2]}]}


def _get(path: str, handler: Handler, answers: dict[int, Answer], *problems: int, name: str = "") -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        name=name,
        tag=_TAG,
        answers=answers,
        problems=problems,
        error=OipError,
    )


def _of_a_model(suffix: str, handler: Handler, answers: dict[int, Answer]) -> tuple[Route, Route]:
    name = handler.__name__
    return (
        _get(_MODEL + suffix, handler, answers, *_OF_A_MODEL, name=name),
        _get(_VERSION + suffix, handler, answers, *_OF_A_MODEL, name=f"{name}_of_version"),
    )


def _infer(path: str, name: str) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=infer.infer,
        name=name,
        tag=_TAG,
        body=OipInferRequest,
        reads_body=True,
        example=_EXAMPLE,
        headers=_HEADERS,
        answers={200: Answer("The outputs.", OipInferResponse)},
        problems=(400, 404, 408, 409, 413, 415, 429, 500, 501, 503, 504),
        error=OipError,
    )


def _not_offered(handler: Handler, *routes: str) -> tuple[Route, ...]:
    made = []
    for route in routes:
        method, path = route.split()
        made.append(Route(method=method, path=path, handler=handler, tag=None))
    return tuple(made)


def _shared_memory(kind: str) -> tuple[Route, ...]:
    base = f"/v2/{kind}sharedmemory"
    return _not_offered(
        oip.shared_memory,
        f"GET {base}/status",
        f"GET {base}/region/{{name}}/status",
        f"POST {base}/region/{{name}}/register",
        f"POST {base}/region/{{name}}/unregister",
        f"POST {base}/unregister",
    )


OIP_ROUTES = (
    _get("/v2", oip.server_metadata, {200: Answer("Done.", OipServer)}),
    _get("/v2/health/live", oip.live, {200: Answer("Yes.", OipLive)}, name="server_live"),
    _get("/v2/health/ready", oip.ready, {200: Answer("Yes.", OipReady)}, 503, name="server_ready"),
    _get("/v2/models/stats", oip.all_statistics, {200: Answer("Done.", OipStats)}),
    *_of_a_model("", oip.model_metadata, {200: Answer("Done.", OipModel)}),
    *_of_a_model("/ready", oip.model_ready, {200: Answer("Yes.", OipModelReady)}),
    *_of_a_model("/config", oip.model_config, {200: Answer("Done.", OipConfig)}),
    *_of_a_model("/stats", oip.model_statistics, {200: Answer("Done.", OipStats)}),
    _infer(_MODEL + "/infer", "infer"),
    _infer(_VERSION + "/infer", "infer_of_version"),
    Route(
        method="POST",
        path="/v2/repository/index",
        handler=oip.repository_index,
        tag=_TAG,
        body=OipIndexRequest,
        reads_body=True,
        is_body_optional=True,
        example={},
        answers={200: Answer("Done.", OipIndexEntry, is_list=True)},
        problems=(400, 408, 413, 503),
        error=OipError,
    ),
    Route(
        method="POST",
        path="/v2/repository/models/{name}/load",
        handler=oip.load_model,
        tag=_TAG,
        body=OipLoadRequest,
        reads_body=True,
        is_body_optional=True,
        example={},
        answers={200: Answer("Done.", OipLoaded)},
        problems=(400, 404, 408, 413, 501, 503),
        error=OipError,
    ),
    Route(
        method="POST",
        path="/v2/repository/models/{name}/unload",
        handler=oip.unload_model,
        tag=_TAG,
        problems=(404, 501, 503),
        error=OipError,
    ),
    *_shared_memory("system"),
    *_shared_memory("cuda"),
    *_not_offered(oip.log_settings, "GET /v2/logging", "POST /v2/logging"),
    *_not_offered(
        oip.trace_settings,
        "GET /v2/trace/setting",
        "POST /v2/trace/setting",
        "GET /v2/models/{name}/trace/setting",
        "POST /v2/models/{name}/trace/setting",
    ),
)

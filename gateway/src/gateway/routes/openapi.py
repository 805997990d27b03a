"""The OpenAPI document, made of the same Structs that decode and encode."""

from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from shared_schemas.events import StreamEvent
from shared_schemas.replies import Problem
from shared_schemas.specs import JobOptions

LONGEST_LIST = 500
_TEMPLATE = "#/components/schemas/{name}"
_types: dict[str, Any] = {"Problem": Problem}
# The Structs that bodies are read as.
_bodies: set[str] = set()
_PROBLEM = {
    "description": "A problem, RFC 9457.",
    "content": {"application/problem+json": {"schema": {"$ref": _TEMPLATE.format(name="Problem")}}},
}
_FRAME = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}

_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "pattern": r"^[\x21-\x7E]{1,255}$"},
        "description": "The same key with the same body gives the same job, or list of jobs, for a day.",
    },
    {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string"},
        "description": "`wait=N`: hold the answer for up to N seconds (1 to 60) until the one job has ended.",
    },
]
_CURSOR_HEADER = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The last event the reader has; wins over `after`. EventSource sends it by itself.",
}


def submission(spec: type[JobOptions]) -> dict[str, Any]:
    from shared_schemas.replies import JobDetails, Submitted, SubmittedJobs

    one = _reference(spec)
    _bodies.add(spec.__name__)
    return _operation(
        body={"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": LONGEST_LIST}]},
        example=spec.example,
        parameters=_HEADERS,
        responses={
            202: _json(Submitted, "Accepted. A list is answered with a list.", or_else=SubmittedJobs),
            200: _json(JobDetails, "It ended within the time that Prefer gave."),
        },
        problems=(400, 404, 406, 408, 413, 415, 422, 501, 503),
        status_code=202,
    )


def reply(answer: type[msgspec.Struct], *problems: int, status: int = 200, also: int | None = None) -> dict[str, Any]:
    responses = {status: _json(answer, "Done.")}
    if also is not None:
        responses[also] = _json(answer, "Asked for, not yet done." if also < 500 else "It cannot serve now.")
    # Whoever reads a job may meet one that another version wrote.
    if 410 in problems:
        problems = (*problems, 501)
    return _operation(responses=responses, problems=(*problems, 503) if also != 503 else problems, status_code=status)


def deleting(*problems: int) -> dict[str, Any]:
    # As of `reply`.
    also = (501,) if 410 in problems else ()
    return _operation(responses={204: {"description": "Deleted."}}, problems=(*problems, *also, 503), status_code=204)


def listing(query: type[msgspec.Struct], answer: type[msgspec.Struct]) -> dict[str, Any]:
    return _operation(parameters=_query(query), responses={200: _json(answer, "One page.")}, problems=(422, 503))


def sending(
    body: type[msgspec.Struct], answer: type[msgspec.Struct], example: dict[str, Any], *problems: int
) -> dict[str, Any]:
    _bodies.add(body.__name__)
    return _operation(
        body=_reference(body),
        example=example,
        responses={200: _json(answer, "Done.")},
        problems=(400, *problems, 408, 413, 415, 422, 503),
    )


def events(query: type[msgspec.Struct], *, in_path: tuple[str, ...] = ()) -> dict[str, Any]:
    """in_path: parameters that FastAPI does not see, because the route takes the request alone."""
    from shared_schemas.replies import EventPage

    _types["StreamEvent"] = StreamEvent
    content = {
        "text/event-stream": {"schema": _FRAME},
        "application/x-ndjson": {"schema": {"type": "string"}},
        **_json(EventPage, "")["content"],
    }
    return _operation(
        parameters=[
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path),
            *_query(query),
            {**_CURSOR_HEADER, "schema": next(one["schema"] for one in _query(query) if one["name"] == "after")},
        ],
        responses={
            200: {"description": "Events in order, each with its number.", "content": content},
            204: {"description": "The reader has them all and there will be no more."},
        },
        problems=(404, 406, 410, 422, 501, 503),
    )


def install(app: FastAPI) -> None:
    """Make app.openapi() give the routes with the schemas of the Structs."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            _, components = msgspec.json.schema_components(tuple(_types.values()), ref_template=_TEMPLATE)
            _forget_validation_error(made)
            # Relative to where the document is: a proxy may serve the gateway under a path.
            made["servers"] = [{"url": "."}]
            _take_as_read(components)
            _end_patterns(made)
            _end_patterns(components)
            made["components"] = {"schemas": dict(sorted(components.items()))}
            app.openapi_schema = _in_ecmascript(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _in_ecmascript(node: Any) -> Any:
    """With each pattern as JSON Schema wants it: in ECMAScript, `$` is the end alone, and `\\Z` is a letter."""
    if isinstance(node, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else _in_ecmascript(value)
            for name, value in node.items()
        }
    return [_in_ecmascript(value) for value in node] if isinstance(node, list) else node


def _take_as_read(components: dict[str, Any]) -> None:
    """Of bodies: null for a field is as good as none, and what kind they are the path says."""
    names, seen = list(_bodies), set[str]()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        schema = components[name]
        names += [reference.rpartition("/")[2] for reference in _references(schema)]
        properties = schema.get("properties", {})
        if "required" in schema:
            tags = [field for field, of in properties.items() if of.keys() == {"enum"} and len(of["enum"]) == 1]
            schema["required"] = [field for field in schema["required"] if field not in tags]
        for field in properties.keys() - set(schema.get("required", ())):
            given = properties[field]
            default = {"default": given.pop("default")} if "default" in given else {}
            kinds = given["anyOf"] if given.keys() == {"anyOf"} else [given]
            properties[field] = {
                "anyOf": [*kinds, *([] if {"type": "null"} in kinds else [{"type": "null"}])],
                **default,
            }


def _end_patterns(schema: Any) -> None:
    """The end of a text is written another way in JSON Schema, whose patterns are those of JavaScript."""
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            schema["pattern"] = pattern.replace(r"\Z", "$")
        for inner in schema.values():
            _end_patterns(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _end_patterns(inner)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _forget_validation_error(document: dict[str, Any]) -> None:
    """FastAPI describes its own 422 for every path parameter; ours are problems like all others."""
    for path in document["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422", {})
            answer.get("content", {}).pop("application/json", None)
            if not answer.get("content"):
                operation["responses"].pop("422", None)


def _operation(
    *,
    responses: dict[int, dict[str, Any]],
    problems: tuple[int, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    example: dict[str, Any] | None = None,
    status_code: int = 200,
) -> dict[str, Any]:
    """Keyword arguments of a route."""
    extra: dict[str, Any] = {"responses": {str(status): response for status, response in responses.items()}}
    # Any operation may be refused for what is wrong with the request as such.
    for status in (*map(str, problems), "default"):
        extra["responses"].setdefault(status, _PROBLEM)
    if parameters:
        extra["parameters"] = parameters
    if body is not None:
        content = {"schema": body, "example": example}
        extra["requestBody"] = {"required": True, "content": {"application/json": content}}
    return {"openapi_extra": extra, "response_model": None, "status_code": status_code}


def _json(
    answer: type[msgspec.Struct], description: str, *, or_else: type[msgspec.Struct] | None = None
) -> dict[str, Any]:
    one = _reference(answer)
    schema = one if or_else is None else {"oneOf": [one, _reference(or_else)]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    _types[struct.__name__] = struct
    return {"$ref": _TEMPLATE.format(name=struct.__name__)}


def _query(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components((query,), ref_template=_TEMPLATE)
    schema = components.pop(query.__name__)
    for field in msgspec.structs.fields(query):
        _types.setdefault(f"{query.__name__}.{field.name}", field.type)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": of}
        for name, of in schema["properties"].items()
    ]

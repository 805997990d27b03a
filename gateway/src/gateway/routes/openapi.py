"""The OpenAPI document, made from the table of routes and the Structs that decode and encode. Knows
no request."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from inspect import getdoc
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from shared_schemas.events import StreamEvent
from shared_schemas.replies import Problem
from shared_schemas.specs import BUILT_IN_RECIPES, SPECS

from gateway.routes.route import Answer, Header, Route

_TEMPLATE = "#/components/schemas/{name}"
_FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
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
_STREAMS = {
    "text/event-stream": {"schema": _FRAME},
    "application/x-ndjson": {"schema": {"type": "string"}},
}


def install(
    app: FastAPI, routes: Sequence[Route], endpoint: Callable[[Route], Callable[[Request], Awaitable[Response]]]
) -> None:
    """Register the routes with FastAPI, and make app.openapi() describe them. endpoint: makes the
    endpoint of a route."""
    for route in routes:
        app.add_api_route(
            route.path,
            endpoint(route),
            methods=[route.method],
            name=route.name or getattr(route.handler, "__name__", None),
            tags=[route.tag] if route.tag else None,
            description=route.description or getdoc(route.handler),
            status_code=next(iter(route.answers), 200),
            response_model=None,
            include_in_schema=route.tag is not None,
            openapi_extra=_operation(route),
        )

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, [route for route in routes if route.tag is not None])
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, routes: Sequence[Route]) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    # Relative to the address of the document, because a proxy may serve the gateway under a path.
    made["servers"] = [{"url": "."}]
    _, components = msgspec.json.schema_components(tuple(_types(routes)), ref_template=_TEMPLATE)
    bodies = {route.body.__name__ for route in routes if route.body is not None}
    _relax_bodies(components, bodies | {struct.__name__ for struct in BUILT_IN_RECIPES.values()})
    _show_hyperparameters(components)
    made["components"] = {"schemas": dict(sorted(components.items()))}
    return dict(_in_ecmascript(made))


def _types(routes: Iterable[Route]) -> Iterator[Any]:
    """The types that the operations refer to, some of them more than once."""
    yield Problem
    yield from BUILT_IN_RECIPES.values()
    for route in routes:
        if route.query is not None:
            yield from (field.type for field in msgspec.structs.fields(route.query))
        if route.body is not None:
            yield route.body
        if route.error is not None:
            yield route.error
        for answer in route.answers.values():
            yield from (kind for kind in (answer.kind, answer.for_list) if kind is not None)
            if answer.is_stream:
                yield StreamEvent


def _operation(route: Route) -> dict[str, Any]:
    parameters = [*_in_path(route.path), *_in_query(route), *map(_in_header, route.headers)]
    if route.cursor_header is not None:
        after = next(one["schema"] for one in _in_query(route) if one["name"] == "after")
        parameters.append({**_in_header(route.cursor_header), "schema": after})
    responses = {str(status): _response(answer) for status, answer in route.answers.items()}
    # Any operation may be refused because the request itself is malformed.
    for status in (*map(str, route.problems), "default"):
        responses.setdefault(status, _PROBLEM if route.error is None else _error(route.error))
    operation: dict[str, Any] = {"responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": _body(route), "example": route.example}
        operation["requestBody"] = {"required": not route.is_body_optional, "content": {"application/json": content}}
    if route.takes_file:
        operation["requestBody"] = {"required": True, "content": _FILE}
    return operation


def _body(route: Route) -> dict[str, Any]:
    assert route.body is not None  # noqa: S101 - narrows for the type checker
    one = _reference(route.body)
    if not route.max_list:
        return one
    return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": route.max_list}]}


def _response(answer: Answer) -> dict[str, Any]:
    if answer.is_file:
        return {"description": answer.description, "content": _FILE}
    if answer.kind is None:
        return {"description": answer.description}
    one = _reference(answer.kind)
    schema = one if answer.for_list is None else {"oneOf": [one, _reference(answer.for_list)]}
    if answer.is_list:
        schema = {"type": "array", "items": one}
    if answer.is_lines:
        return {"description": answer.description, "content": {"application/jsonl": {"schema": one}}}
    streams = _STREAMS if answer.is_stream else {}
    return {"description": answer.description, "content": {**streams, "application/json": {"schema": schema}}}


def _error(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": "An error.", "content": {"application/json": {"schema": _reference(kind)}}}


def _reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(name=struct.__name__)}


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for segment in path.split("/"):
        if segment.startswith("{"):
            name = segment[1:-1]
            schema = {"type": "string", "title": name.replace("_", " ").title()}
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    (_,), components = msgspec.json.schema_components((route.query,), ref_template=_TEMPLATE)
    schema = components.pop(route.query.__name__)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": of}
        for name, of in schema["properties"].items()
    ]


def _in_header(header: Header) -> dict[str, Any]:
    pattern = {} if header.pattern is None else {"pattern": header.pattern}
    return {
        "name": header.name,
        "in": "header",
        "schema": {"type": "string", **pattern},
        "description": header.description,
    }


def _relax_bodies(components: dict[str, Any], bodies: Iterable[str]) -> None:
    """Show what bodies may do: give null for an optional field, and omit the kind, which the path
    says."""
    names, seen = list(bodies), set[str]()
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


def _show_hyperparameters(components: dict[str, Any]) -> None:
    """Show the hyperparameters of each built-in recipe. Other recipes come and go with workers; GET
    /recipes shows them."""
    for spec in SPECS.values():
        field = spec.recipe_field
        for name, struct in BUILT_IN_RECIPES.items() if field is not None else ():
            is_named = {"properties": {field: {"const": name}}, "required": [field]}
            given = {"properties": {"hyperparameters": {"anyOf": [_reference(struct), {"type": "null"}]}}}
            components[spec.__name__].setdefault("allOf", []).append({"if": is_named, "then": given})


def _in_ecmascript(node: Any) -> Any:
    """The document with its patterns in ECMAScript, as JSON Schema wants them. There `$` matches
    only at the end, and `\\Z` would match a letter."""
    if isinstance(node, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else _in_ecmascript(value)
            for name, value in node.items()
        }
    return [_in_ecmascript(value) for value in node] if isinstance(node, list) else node


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)

"""The private parts of libraries that the project uses exist, and one module for each library names
them.

A failure after an upgrade says which part changed. `gateway.edge.uvicorn_parts` and
`shared_schemas.stream.redis_parts` say what to do about it.
"""

import ast
import asyncio
import inspect
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import redis.asyncio
from gateway.edge import uvicorn_parts
from gateway.edge.uvicorn_parts import FlowControl, HttpToolsProtocol, RequestResponseCycle
from shared_schemas.stream import redis_parts
from uvicorn import Config
from uvicorn.server import ServerState

from tests.support.gateways import ROOT
from tests.support.raised_codes import MEMBERS

PARTS = uvicorn_parts.PARTS | redis_parts.PARTS
METHODS = [(part, name, given) for part, (methods, _) in PARTS.items() for name, given in methods.items()]
FIELDS = [(part, name) for part, (_, fields) in PARTS.items() for name in sorted(fields)]
# The uvicorn class that each class of the gateway extends, and the class that each name in its source stands for.
SUBCLASSES = {"GatewayProtocol": HttpToolsProtocol, "LazyFlowControl": FlowControl}
NAMES = {
    "cycle": RequestResponseCycle,
    "_cycle": RequestResponseCycle,
    "_current": RequestResponseCycle,
    "current": RequestResponseCycle,
    "flow": FlowControl,
    "_flow": FlowControl,
    "protocol": HttpToolsProtocol,
    "_protocol": HttpToolsProtocol,
}
CAPPED = [("gateway", "uvicorn"), ("shared-schemas", "redis")]


async def _application(scope: object, receive: object, send: object) -> None:
    pass


async def made(part: type) -> Any:
    """An instance of the class, made as the library makes it."""
    nothing: Any = None
    if part is FlowControl:
        return FlowControl(nothing)
    if part is HttpToolsProtocol:
        protocol = HttpToolsProtocol(Config(_application, log_config=None, interface="asgi3"), ServerState(), {})
        protocol.on_message_begin()  # it sets some attributes only here
        return protocol
    if part is RequestResponseCycle:
        return RequestResponseCycle(
            nothing, nothing, nothing, nothing, nothing, False, [], asyncio.Event(), False, True, nothing
        )
    if part is redis.asyncio.Redis:
        return redis.asyncio.Redis()
    return part()


def ids(row: tuple[Any, ...]) -> str:
    return f"{row[0].__name__}.{row[1]}"


@pytest.mark.parametrize(("part", "name", "given"), METHODS, ids=map(ids, METHODS))
def test_a_method_has_the_parameters_that_we_rely_on(part: type, name: str, given: str) -> None:
    parameters = list(inspect.signature(getattr(part, name)).parameters)

    assert parameters == ["self", *given.split()]


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=map(ids, FIELDS))
async def test_a_field_exists(part: type, name: str) -> None:
    assert hasattr(await made(part), name)


@pytest.mark.parametrize(("member", "library"), CAPPED)
def test_only_tested_versions_are_allowed(member: str, library: str) -> None:
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
    extras = [one for more in project.get("optional-dependencies", {}).values() for one in more]
    [bound] = [one for one in (*project["dependencies"], *extras) if one.startswith(library)]
    major, minor = map(int, version(library).split(".")[:2])

    assert bound.partition(">=")[2] == f"{major}.{minor},<{major}.{minor + 1}"


def sources() -> Iterator[tuple[str, ast.Module]]:
    for member in MEMBERS:
        for path in sorted((ROOT / member).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_one_module_imports_private_parts_of_uvicorn() -> None:
    users = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("uvicorn.")
    }

    assert users == {"gateway/src/gateway/edge/uvicorn_parts.py"}


def used(tree: ast.Module) -> Iterator[tuple[type, str]]:
    """Which attributes of which classes of uvicorn a module uses or overrides."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in SUBCLASSES:
            for part in ast.walk(node):
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield SUBCLASSES[node.name], part.name
                elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
                    yield SUBCLASSES[node.name], part.attr
        elif isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in NAMES:
                yield NAMES[owner], node.attr


async def test_all_parts_of_uvicorn_that_the_gateway_uses_are_named() -> None:
    known = {part: {*vars(part), *vars(await made(part))} for part in NAMES.values()}
    found = {
        (part, name)
        for path, tree in sources()
        if path.startswith("gateway/")
        for part, name in used(tree)
        if name in known[part]
    }
    named = {(part, name) for part, (methods, fields) in uvicorn_parts.PARTS.items() for name in {*methods, *fields}}

    assert {f"{part.__name__}.{name}" for part, name in found - named} == set()
    assert {f"{part.__name__}.{name}" for part, name in named - found} == set()


PRIVATE_OF_REDIS = {"_reader", "_writer", "_sock", "_parser", "_connect", "_buffer"}


def test_two_modules_use_private_parts_of_redis_py() -> None:
    users = {
        (path, node.attr)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in PRIVATE_OF_REDIS
        and path.startswith("shared-schemas/src/shared_schemas/stream/")
        # These are attributes of our own classes, with the same names.
        and not (isinstance(node.value, ast.Name) and node.value.id == "self" and "stale_master.py" not in path)
    }

    assert users == {
        ("shared-schemas/src/shared_schemas/stream/stale_master.py", "_writer"),
        ("shared-schemas/src/shared_schemas/stream/pubsub.py", "_reader"),
        ("shared-schemas/src/shared_schemas/stream/pubsub.py", "_writer"),
    }

"""The gateway is built in one module, and every other module is given the parts that it needs."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.gateways import ROOT

GATEWAY = ROOT / "gateway/src/gateway"
# What else connects to Redis or makes a part, and why.
EXCEPTIONS = {
    # It looks at the database before the process listens, with another time limit, and disconnects.
    ("duties/store_check.py", "shared_schemas.stream.connection.connect"),
}


def calls_of_imported(path: Path) -> Iterator[str]:
    """What the module imports by name and calls, with where it is from."""
    tree = ast.parse(path.read_text())
    origins = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in origins:
            yield origins[node.func.id]


def test_only_the_wiring_makes_parts_of_the_gateway() -> None:
    wiring = GATEWAY / "wiring.py"
    parts = set(calls_of_imported(wiring))

    made_elsewhere = {
        (path.relative_to(GATEWAY).as_posix(), part)
        for path in GATEWAY.rglob("*.py")
        if path != wiring
        for part in calls_of_imported(path)
        if part in parts
    }

    assert {"gateway.intake.admission.Admission", "gateway.feed.hub.Hub", "gateway.services.Services"} <= parts
    assert made_elsewhere == EXCEPTIONS

"""Finds the error codes that our code can raise, by reading its source.

A code is a literal in one of three places: the attribute `code` of a class, an argument of an error
or of one of its items, or a dictionary of codes. A function that passes one of its parameters on to
such a place counts as such a place itself, so helpers need no mention here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.support.gateways import ROOT

MEMBERS = (
    "client/src",
    "deploy/local/src",
    "gateway/src",
    "inference-worker/src",
    "recipe-kit/src",
    "shared-schemas/src",
    "training-worker/src",
    "worker-runtime/src",
)
TABLE = ROOT / "shared-schemas/src/shared_schemas/error_codes"
_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_IN_LUA = re.compile(r"""(?:\bcode\s*=\s*['"]|"code"\s*:\s*")(\w+)['"]""")
# What takes a code, and as which positional argument, from 0. All of them also take it as `code=`.
_TAKERS = {
    "AttemptFailed": 0,
    "DataRejected": 0,
    "ErrorInfo": None,
    "ItemError": None,
    "Problem": None,
    "ProblemError": 1,
    "ProblemItem": None,
}
# Names of dictionaries and sets of codes.
_HOLDERS = {"_ROUTER_CODES", "_FAULTS", "STORE_FAULTS"}


class Raised(msgspec.Struct, frozen=True):
    """place: file and line. taker: what the code was passed to. status: that of a ProblemError, if
    it is a literal. retryable: None if it cannot be read from the source."""

    code: str
    place: str
    taker: str = ""
    status: int | None = None
    retryable: bool | None = None


def raised_codes() -> list[Raised]:
    modules = {path: ast.parse(path.read_text()) for path in _files("*.py")}
    constants = {
        target.id: node.value.value
        for tree in modules.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    takers: dict[str, int | None] = dict(_TAKERS)
    while not _all_found(modules, takers):
        pass
    found = [one for path, tree in modules.items() for one in _of_module(path, tree, takers, constants)]
    for path in _files("*.lua"):
        found += [Raised(match[1], str(path.relative_to(ROOT)), "lua") for match in _IN_LUA.finditer(path.read_text())]
    return found


def _files(pattern: str) -> Iterator[Path]:
    for member in MEMBERS:
        yield from (path for path in sorted((ROOT / member).rglob(pattern)) if TABLE not in path.parents)


def _all_found(modules: dict[Path, ast.Module], takers: dict[str, int | None]) -> bool:
    """Add to `takers` each function that passes a parameter on as a code, and each subclass of a
    taker. -> whether nothing new was found"""
    before = len(takers)
    for tree in modules.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    makes = any(isinstance(part, ast.FunctionDef) and part.name == "__init__" for part in node.body)
                    if isinstance(base, ast.Name) and base.id in takers and not makes:
                        takers.setdefault(node.name, takers[base.id])
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
                names = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
                for call in ast.walk(node):
                    given = _given(call, takers) if isinstance(call, ast.Call) else None
                    if isinstance(given, ast.Name) and given.id in names:
                        takers.setdefault(node.name, names.index(given.id))
    return len(takers) == before


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _given(call: ast.Call, takers: dict[str, int | None]) -> ast.expr | None:
    """The expression that the call passes as a code."""
    if _name(call) not in takers:
        return None
    for keyword in call.keywords:
        if keyword.arg == "code":
            return keyword.value
    place = takers[_name(call)]
    return call.args[place] if place is not None and len(call.args) > place else None


def _of_module(
    path: Path, tree: ast.Module, takers: dict[str, int | None], constants: dict[str, str]
) -> Iterator[Raised]:
    where = str(path.relative_to(ROOT))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = _given(node, takers)
            for code in _texts(given, constants):
                status = node.args[0].value if _name(node) == "ProblemError" and _is_number(node.args[0]) else None
                yield Raised(code, f"{where}:{node.lineno}", _name(node), status, _retryable(node))
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.Assign | ast.AnnAssign) and "code" in _targets(part):
                    for code in _texts(part.value, constants):
                        yield Raised(code, f"{where}:{part.lineno}", "class")
        elif isinstance(node, ast.Assign) and "code" in _targets(node):
            for code in _texts(_default(node.value), constants):
                yield Raised(code, f"{where}:{node.lineno}", "variable")
        elif isinstance(node, ast.Assign) and _HOLDERS & _targets(node):
            for part in ast.walk(node.value):
                for code in _texts(part, {}):
                    yield Raised(code, f"{where}:{node.lineno}", "holder")


def _default(value: ast.expr) -> ast.expr:
    """The default in `codes.get(key, default)`. Any other expression as it is."""
    is_get = isinstance(value, ast.Call) and _name(value) == "get" and len(value.args) == 2
    return value.args[1] if is_get and isinstance(value, ast.Call) else value


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _texts(given: ast.expr | ast.AST | None, constants: dict[str, str]) -> Iterator[str]:
    match given:
        case ast.Constant(value=str(code)) if _CODE.fullmatch(code):
            yield code
        case ast.Name(id=name) if name in constants and _CODE.fullmatch(constants[name]):
            yield constants[name]
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, constants)
            yield from _texts(other, constants)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _retryable(call: ast.Call) -> bool | None:
    """Whether a failed attempt is retryable, as the call says. It is not if the call does not say
    it."""
    if _name(call) not in ("AttemptFailed", "ErrorInfo"):
        return None
    for keyword in call.keywords:
        if keyword.arg == "retryable":
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    return False

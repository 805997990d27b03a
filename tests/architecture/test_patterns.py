r"""Patterns that describe a whole text must end with `\Z`, because `$` also matches before a line
end at the end."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
import shared_schemas
import worker_runtime

import gateway
from tests.support.gateways import ROOT
from tests.support.raised_codes import MEMBERS

_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")


def structs() -> Iterator[type[msgspec.Struct]]:
    for package in (shared_schemas, gateway, worker_runtime):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                found = vars(importlib.import_module(module.name)).values()
                yield from (each for each in found if isinstance(each, type) and issubclass(each, msgspec.Struct))


def patterns_in(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, msgspec.Meta) and annotation.pattern is not None:
        yield annotation.pattern
    for part in get_args(annotation):
        yield from patterns_in(part)


PATTERNS = sorted(
    {
        (f"{struct.__name__}.{field.name}", pattern)
        for struct in structs()
        for field in msgspec.structs.fields(struct)
        for pattern in patterns_in(field.type)
    }
)


def literals() -> Iterator[tuple[str, str]]:
    """Each pattern in the source, of re or of msgspec's Meta, with its place."""
    for member in MEMBERS:
        for path in sorted((ROOT / member).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if not isinstance(call, ast.Call):
                    continue
                is_re = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "re"
                given = [*call.args[:1]] * is_re + [word.value for word in call.keywords if word.arg == "pattern"]
                for part in (part for one in given for part in ast.walk(one)):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                        text = part.value if isinstance(part.value, str) else part.value.decode()
                        yield f"{path.relative_to(ROOT)}:{part.lineno}", text


def test_fields_have_patterns() -> None:
    assert {"TrainingSpec.output_model", "TrainingSpec.tags", "TrainingSpec.model_type", "ArtifactRef.sha256"} <= {
        name for name, _ in PATTERNS
    }


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_the_pattern_of_a_field_begins_and_ends_with_the_text(name: str, pattern: str) -> None:
    assert pattern.startswith(("^", r"\A"))
    assert pattern.endswith(r"\Z")


@pytest.mark.parametrize(("place", "pattern"), list(literals()), ids=[place for place, _ in literals()])
def test_no_pattern_uses_a_dollar_sign_for_the_end(place: str, pattern: str) -> None:
    assert "$" not in _CLASS.sub("", pattern.replace(r"\$", ""))

"""The blocking and the async client offer the same methods with the same
parameters, defaults and answers.

Only signatures are compared here; the other tests of this folder check what the methods do.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from headrace import AsyncClient, Client
from headrace.answers import AsyncListing, Listing
from headrace.batch_calls import AsyncBatchCalls, BatchCalls
from headrace.model_calls import AsyncModelCalls, ModelCalls

TWINS = [(Client, AsyncClient), (BatchCalls, AsyncBatchCalls), (ModelCalls, AsyncModelCalls), (Listing, AsyncListing)]
# An async program bounds a loop over events with anyio.fail_after or asyncio.timeout.
ONLY_BLOCKING_PARAMETERS = {("follow", "timeout_s")}
# Python closes a blocking generator that is left early by itself, but not an async one.
ONLY_ASYNC_METHODS = {("AsyncListing", "aclose")}


def public_methods(of: type) -> dict[str, Callable[..., Any]]:
    return {name: each for name, each in vars(of).items() if not name.startswith("_") and inspect.isfunction(each)}


def public_properties(of: type) -> set[str]:
    return {name for name, each in vars(of).items() if not name.startswith("_") and isinstance(each, property)}


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    """-> name, kind, default and annotation of each"""
    return [
        (each.name, each.kind, each.default, inspect.formatannotation(each.annotation))
        for each in inspect.signature(method).parameters.values()
    ]


def answer(method: Callable[..., Any]) -> str:
    """The return annotation, in the names of the blocking types."""
    written = inspect.formatannotation(inspect.signature(method).return_annotation)
    return re.sub(r"\bAsync(Listing|Iterator)\b", r"\1", written)


METHODS = [
    pytest.param(method, getattr(awaited, name, None), id=f"{blocking.__name__}.{name}")
    for blocking, awaited in TWINS
    for name, method in public_methods(blocking).items()
]


@pytest.mark.parametrize(("blocking", "awaited"), TWINS)
def test_both_have_the_same_methods_and_properties(blocking: type, awaited: type) -> None:
    known = {method for owner, method in ONLY_ASYNC_METHODS if owner == awaited.__name__}

    assert set(public_methods(awaited)) - set(public_methods(blocking)) == known
    assert set(public_methods(blocking)) - set(public_methods(awaited)) == set()
    assert public_properties(blocking) == public_properties(awaited)


def test_both_are_made_with_the_same_parameters() -> None:
    assert parameters(Client.__init__) == parameters(AsyncClient.__init__)


@pytest.mark.parametrize(("blocking", "awaited"), METHODS)
def test_a_method_takes_and_answers_the_same_in_both(blocking: Callable[..., Any], awaited: Callable[..., Any]) -> None:
    known = {parameter for method, parameter in ONLY_BLOCKING_PARAMETERS if method == blocking.__name__}
    names = {name for name, *_ in parameters(blocking)} - {name for name, *_ in parameters(awaited)}

    assert names == known
    assert [each for each in parameters(blocking) if each[0] not in known] == parameters(awaited)
    assert answer(blocking) == answer(awaited)


@pytest.mark.parametrize(("blocking", "awaited"), METHODS)
def test_an_async_method_is_awaited_unless_it_is_iterated_over(
    blocking: Callable[..., Any], awaited: Callable[..., Any]
) -> None:
    is_iterated = re.search(r"\b(Listing|Iterator)\[", answer(blocking)) is not None

    assert inspect.iscoroutinefunction(awaited) is not is_iterated

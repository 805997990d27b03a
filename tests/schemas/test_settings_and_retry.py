"""Settings from variables, and when a retry is due."""

import random
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.retry import RetryPolicy
from shared_schemas.service.settings import SettingsRejected, from_environ, setting


class Example(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[int, msgspec.Meta(ge=1)]
    names: tuple[str, ...] = ()
    hosts: Annotated[tuple[str, ...], setting("who may call")] = ()
    password: str = ""
    ratio: float = 0.5


def test_variables_become_typed_fields() -> None:
    environ = {"X_PORT": "8000", "X_NAMES": "a,b", "X_HOSTS": "c,d", "OTHER": "1"}

    made = from_environ(Example, prefix="X_", environ=environ)

    assert made == Example(port=8000, names=("a", "b"), hosts=("c", "d"))


@pytest.mark.parametrize(
    ("environ", "variable"),
    [({}, "X_PORT"), ({"X_PORT": "s3cret"}, "X_PORT"), ({"X_PORT": "1", "X_RATIO": "s3cret"}, "X_RATIO")],
)
def test_a_wrong_variable_is_named_and_its_value_is_not(environ: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsRejected) as caught:
        from_environ(Example, prefix="X_", environ=environ)

    assert variable in str(caught.value)
    assert "s3cret" not in str(caught.value)


@given(st.integers(1, 40), st.floats(0, 100), st.floats(0, 1000), st.integers())
def test_a_delay_lies_under_its_ceiling(failures: int, backoff_s: float, cap_s: float, seed: int) -> None:
    policy = RetryPolicy(backoff_s=backoff_s, max_backoff_s=cap_s)

    delay_s = policy.delay_s(failures, random.Random(seed))

    assert 0 <= delay_s <= min(cap_s, backoff_s * 2 ** (failures - 1))


def test_the_last_attempt_is_the_policys() -> None:
    policy = RetryPolicy(max_attempts=3)

    assert [policy.allows_another(failures) for failures in (1, 2, 3, 4)] == [True, True, False, False]

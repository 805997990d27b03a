"""Errors of redis-py as errors of this package: callers see BackendUnavailable or CallRefused."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from shared_schemas.errors import BackendUnavailable, CallRefused

# If the call was made by a script, Redis 6.2 puts the code after the place in the script.
_PASSING = re.compile(
    r"(?:^|: -)(MISCONF|LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|OOM|BUSY)\b", re.ASCII
)
_SCRIPT_LINE = re.compile(r"user_script:(\d+):", re.ASCII)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise BackendUnavailable for errors that end when Redis is back, and CallRefused if Redis refuses the call."""
    try:
        yield
    except (ConnectionError, TimeoutError, OSError) as error:
        raise BackendUnavailable(f"Redis does not answer ({type(error).__name__})") from error
    except NoScriptError:
        raise
    except ResponseError as error:
        if refusal := refusal_of(error):
            raise BackendUnavailable(f"Redis refuses this at the moment ({refusal})") from error
        raise CallRefused(f"Redis refuses this call ({_kind_of(error)})") from error
    except RedisError as error:
        raise BackendUnavailable(f"Redis does not answer ({type(error).__name__})") from error


def refusal_of(error: ResponseError) -> str | None:
    """The code of a refusal that goes away with time; None for any other error."""
    # If redis-py has a class for the error, its text lacks the code.
    match error:
        case OutOfMemoryError():
            return "OOM"
        case ReadOnlyError():
            return "READONLY"
        case _:
            found = _PASSING.search(str(error))
            return found[1] if found else None


def _kind_of(error: ResponseError) -> str:
    """The code of the error, and its line in a script, without the values in its text."""
    text = str(error)
    line = _SCRIPT_LINE.search(text)
    return text.split(" ", 1)[0] + (f", line {line[1]} of a script" if line else "")

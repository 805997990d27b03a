"""What `headrace up` takes of the environment, as its parts would, and what it hands on to them. Reads none itself."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from shared_schemas.ids import kind_of_queue, parse_queue
from shared_schemas.kinds import JobKind
from shared_schemas.service.settings import SettingsRejected, from_environ, setting
from shared_schemas.stream.address import fault_of_url

_PREFIX = "HEADRACE_"
# Each worker and the log have theirs from here.
_NOT_HEEDED = {
    "HEADRACE_WORKER_NAME": "the workers are named training-1, inference-1, …",
    "HEADRACE_LOG_FORMAT": "the lines of all parts are shown alike",
}
_OF_A_GIVEN_REDIS = {
    "HEADRACE_REDIS_USER": "the embedded Redis has one user",
    "HEADRACE_REDIS_PASSWORD_FILE": "the embedded Redis asks for no password",
}


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """As the parts have them; "" for what `headrace up` chooses by itself."""

    host: str = "127.0.0.1"
    port: Annotated[int, setting("port", ge=0, le=65_535)] = 8000
    redis_url: str = ""
    data_root: str = ""
    artifacts_root: str = ""
    drain_grace_s: Annotated[float, setting("grace", gt=0.0)] = 30.0


def settings_of(environ: Mapping[str, str], options: Mapping[str, object]) -> UpSettings:
    """options: given on the command line, None for the others; they win. SettingsRejected."""
    redis_url = options.get("redis_url")
    if isinstance(redis_url, str) and (fault := fault_of_url(redis_url)):
        raise SettingsRejected(f"--redis-url: it {fault}")
    given = {name: value for name, value in options.items() if value is not None}
    left = {name: value for name, value in environ.items() if name.removeprefix(_PREFIX).lower() not in given}
    return msgspec.structs.replace(from_environ(UpSettings, prefix=_PREFIX, environ=left), **given)


def not_heeded(environ: Mapping[str, str], *, is_embedded: bool) -> list[str]:
    """One sentence for each variable that is set and changes nothing here. is_embedded: Redis is this system's own."""
    reasons = _NOT_HEEDED | (_OF_A_GIVEN_REDIS if is_embedded else {})
    return [f"{name} is not heeded: {why}" for name, why in reasons.items() if environ.get(name)]


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What services get of this process' environment. HEADRACE_* passes: it tunes what is not set here."""
    return {name: value for name, value in environ.items() if name != "HEADRACE_URL"}


def of_redis(environ: Mapping[str, str], redis_url: str, *, is_embedded: bool) -> dict[str, str]:
    """What a service gets of `environ`, with Redis' address."""
    left = {name: value for name, value in environ.items() if not (is_embedded and name in _OF_A_GIVEN_REDIS)}
    return left | {"HEADRACE_REDIS_URL": redis_url}


def of_kind(environ: Mapping[str, str], kind: JobKind) -> dict[str, str]:
    """What the workers of a kind get: of HEADRACE_QUEUES, which names queues of both, their own. MalformedId."""
    names = [name for name in environ.get("HEADRACE_QUEUES", "").split(",") if name]
    own = [name for name in names if kind_of_queue(parse_queue(name)) is kind]
    left = {name: value for name, value in environ.items() if name != "HEADRACE_QUEUES"}
    return left | ({"HEADRACE_QUEUES": ",".join(own)} if own else {})

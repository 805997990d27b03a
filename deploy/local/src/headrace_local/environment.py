"""The settings of `headrace up`, and the environment of the services that it starts. Reads no
environment itself."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from shared_schemas.ids import kind_of_queue, parse_queue
from shared_schemas.kinds import JobKind
from shared_schemas.service.settings import SettingsRejected, from_environ, setting
from shared_schemas.stream.address import fault_of_url

from headrace_local.programs import PROGRAMS

_PREFIX = "HEADRACE_"
# Variables that `headrace up` sets itself, and why.
_IGNORED = {
    "HEADRACE_WORKER_NAME": "the workers are named training-1, inference-1, …",
    "HEADRACE_LOG_FORMAT": "all services are shown in one format",
}
_FOR_ANOTHER_REDIS = {
    "HEADRACE_REDIS_USER": "the embedded Redis has one user",
    "HEADRACE_REDIS_PASSWORD_FILE": "the embedded Redis asks for no password",
}


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The same settings as those of the services. An empty text lets `headrace up` choose."""

    host: str = "127.0.0.1"
    port: Annotated[int, setting("port", ge=0, le=65_535)] = 8000
    redis_url: str = ""
    data_root: str = ""
    artifacts_root: str = ""
    drain_grace_s: Annotated[float, setting("grace", gt=0.0)] = 30.0


def settings_of(environ: Mapping[str, str], options: Mapping[str, object]) -> UpSettings:
    """options: those of the command line, which take precedence; None if not
    given. SettingsRejected."""
    redis_url = options.get("redis_url")
    if isinstance(redis_url, str) and (fault := fault_of_url(redis_url)):
        raise SettingsRejected(f"--redis-url: it {fault}")
    given = {name: value for name, value in options.items() if value is not None}
    left = {name: value for name, value in environ.items() if name.removeprefix(_PREFIX).lower() not in given}
    return msgspec.structs.replace(from_environ(UpSettings, prefix=_PREFIX, environ=left), **given)


def ignored_variables(environ: Mapping[str, str], *, is_embedded: bool) -> list[str]:
    """One sentence for each variable that is set and has no effect. is_embedded: the embedded Redis
    is used."""
    reasons = _IGNORED | (_FOR_ANOTHER_REDIS if is_embedded else {})
    return [f"{name} has no effect: {why}" for name, why in reasons.items() if environ.get(name)]


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that services inherit. Most HEADRACE_* variables pass, so that they can tune
    a service."""
    return {name: value for name, value in environ.items() if name != "HEADRACE_URL"}


def with_redis_url(environ: Mapping[str, str], redis_url: str, *, is_embedded: bool) -> dict[str, str]:
    """`environ` with the address of Redis, and without the credentials of another Redis."""
    left = {name: value for name, value in environ.items() if not (is_embedded and name in _FOR_ANOTHER_REDIS)}
    return left | {"HEADRACE_REDIS_URL": redis_url}


def for_kind(environ: Mapping[str, str], kind: JobKind) -> dict[str, str]:
    """`environ` for the workers of one kind: HEADRACE_QUEUES is reduced to the queues of
    that kind, and only what is measured has a port for metrics. MalformedId."""
    names = [name for name in environ.get("HEADRACE_QUEUES", "").split(",") if name]
    own = [name for name in names if kind_of_queue(parse_queue(name)) is kind]
    others = {"HEADRACE_QUEUES"} | (set() if PROGRAMS[kind].is_measured else {"HEADRACE_METRICS_PORT"})
    left = {name: value for name, value in environ.items() if name not in others}
    return left | ({"HEADRACE_QUEUES": ",".join(own)} if own else {})

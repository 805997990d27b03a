"""Lua scripts: loads lua/*.lua, calls them by name with one MessagePack argument.

EVALSHA first, the source once more when Redis has forgotten it (a restart, SCRIPT FLUSH).
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from shared_schemas.codec import WIRE_VERSION, encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Reason
from shared_schemas.failpoints import reach
from shared_schemas.job import JobState
from shared_schemas.stream.connection import AsyncRedis, SyncRedis
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.record import RECORD, SHORT
from shared_schemas.stream.redis_errors import refusal_of, translated
from shared_schemas.stream.transitions import packed_arguments, row_of, set_of, transition

_JOINED = {"prelude": ("prelude", "load_prelude", "commit_prelude")}
CORRUPT_RECORD = ErrorInfo(code="corrupt_record", message="what Redis kept of the job was damaged")
_PLACES = {part.upper(): str(place) for place, part in enumerate(RECORD, 1)}
# A string is found first and left as it is, whatever stands in it. Lua knows no @ outside of one.
_STRING_OR_PART = re.compile(r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|@(?P<part>\w*)""")
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_DECLARATION = re.compile(r"^local .*?(?=^local |\Z)", re.MULTILINE | re.DOTALL)
_DECLARED = re.compile(r"\b(?!local\b|function\b)\w+")


class Script(msgspec.Struct, frozen=True):
    source: bytes
    sha: str


@cache
def load(name: str, prelude: str = "prelude") -> Script:
    source = _linked("\n".join(map(_read, _JOINED.get(prelude, [prelude]))), _read(name))
    source = placed(source)
    return Script(source.encode(), hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def placed(source: str) -> str:
    """Lua with the place of each part of a record instead of its name: 16 for @FENCE; and what Python alone knows
    instead of the names of `_said`. KeyError: neither."""
    # Numbers, and not local variables of each script: to hand thirty of those to its functions costs a call a tenth.
    known = _PLACES | _said()
    return _STRING_OR_PART.sub(lambda found: found[0] if found["part"] is None else known[found["part"]], source)


@cache
def _said() -> dict[str, str]:
    """What a script is told once, when it is loaded, as Lua has it. The states and lanes; ENDED: the terminal states;
    END: the event that ends a timeline; RESULT_TTL (ms): where a damaged job does not say its own; SHORT: how many
    fields hold a short timeline; SHORT_FIELDS: their names, as arguments."""
    corrupt = {**transition(Reason.FAILED, error=CORRUPT_RECORD), "error": encode_json(CORRUPT_RECORD).decode()}
    told: dict[str, Any] = {
        "STATES": set_of(JobState),
        "ENDED": set_of(state for state in JobState if state.is_terminal),
        "END": row_of(Reason.FAILED)["event"],
        "LANES": set_of(Lane),
        "WIRE_VERSION": WIRE_VERSION,
        "CORRUPT": {**corrupt, "dead": CORRUPT_RECORD.code},
        "RESULT_TTL": 7 * 86_400_000,
        "SHORT": len(SHORT),
    }
    return {name: _in_lua(value) for name, value in told.items()} | {"SHORT_FIELDS": ", ".join(map(_in_lua, SHORT))}


def _in_lua(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"[{_in_lua(name)}] = {_in_lua(each)}" for name, each in value.items()) + "}"
        case str():
            return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _read(name: str) -> str:
    text = (files("shared_schemas.stream") / "lua" / f"{name}.lua").read_text()
    return _COMMENT.sub("", text)


def _linked(prelude: str, script: str) -> str:
    """The script behind those declarations of the prelude that it needs. Each call makes a new object of each function,
    and hands it the local variables that it uses: what a script never calls costs every call of it all the same."""
    needed = script
    for declaration in reversed(_DECLARATION.findall(prelude)):
        declared = _DECLARED.findall(declaration.partition("=")[0].partition("(")[0])
        if any(re.search(rf"\b{name}\b", needed) for name in declared):
            needed = declaration + needed
    return needed


async def call(client: AsyncRedis, name: str, tag: str, arguments: Mapping[str, Any], *, seldom: bytes = b"") -> Any:
    """Run lua/<name>.lua on the queue or registry that `tag` names. seldom: more arguments, from `packed_arguments`,
    that few calls need. BackendUnavailable if Redis is away."""
    script, argument = load(name, _prelude_of(tag)), packed_arguments(arguments)
    reach(f"before_{name}")
    with translated():
        try:
            reply = await client.evalsha(script.sha, 1, tag, argument, seldom)
        except NoScriptError:
            reply = await client.eval(script.source, 1, tag, argument, seldom)
    reach(f"after_{name}")
    return reply


def command(name: str, tag: str, arguments: Mapping[str, Any], *, seldom: bytes = b"") -> tuple[Any, ...]:
    """The same call, to be sent among others. Where Redis has forgotten the script, the reply is a NoScriptError."""
    return ("EVALSHA", load(name, _prelude_of(tag)).sha, 1, tag, packed_arguments(arguments), seldom)


def whole_command(name: str, tag: str, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """As command, for a Redis that has forgotten the script."""
    return ("EVAL", load(name, _prelude_of(tag)).source, 1, tag, packed_arguments(arguments))


def call_from_thread(client: SyncRedis, name: str, tag: str, arguments: Mapping[str, Any]) -> Any:
    script, argument = load(name, _prelude_of(tag)), packed_arguments(arguments)
    reach(f"before_{name}")
    with translated():
        try:
            reply = client.evalsha(script.sha, 1, tag, argument)
        except NoScriptError:
            reply = client.eval(script.source, 1, tag, argument)
        except ResponseError as error:
            # Redis 6.2 hides this from the client library, which would open another line, to the master of today.
            if refusal_of(error) == "READONLY":
                client.connection_pool.disconnect(inuse_connections=False)
            raise
    reach(f"after_{name}")
    return reply


def _prelude_of(tag: str) -> str:
    return "registry_prelude" if tag in ("{hr:models}:", "{hr}:") else "prelude"

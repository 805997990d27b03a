"""Links each Lua script with the declarations that it needs, and puts values in place of names, as
Redis runs it.

    python -m shared_schemas.stream.linking claim

prints a script in that form, with the name behind each value. Without an argument it prints all
scripts. Nothing here asks Redis.
"""

import hashlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from shared_schemas.codec import WIRE_VERSION, encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Reason
from shared_schemas.job import JobState
from shared_schemas.stream.keys import GROUP, Lane
from shared_schemas.stream.packed_job import JOB_PARTS, SHORT_BYTES, SHORT_FIELDS
from shared_schemas.stream.transitions import row_of, set_of, transition

# Scripts that work on the model registry, and on what belongs to no single queue. All others work on one queue.
OF_REGISTRY = frozenset({"begin_switch", "delete_version", "look_up", "publish", "set_alias", "stage", "wanted"})
OF_ALL_QUEUES = frozenset({"queues"})
_QUEUE_PRELUDES, _REGISTRY_PRELUDES = (
    ("prelude", "pace_prelude", "load_prelude", "commit_prelude"),
    ("registry_prelude",),
)

CORRUPT_JOB = ErrorInfo(code="corrupt_record", message="what Redis kept of the job was damaged")
_PLACES = {part.upper(): str(place) for place, part in enumerate(JOB_PARTS, 1)}
# A string is matched first and left as it is, even with an @ in it. Lua itself has no @ outside of strings.
_STRING_OR_NAME = re.compile(r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|@(?P<name>\w*)""")
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_DECLARATION = re.compile(r"^local .*?(?=^local |\Z)", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\w+")
_DECLARED = re.compile(r"\b(?!local\b|function\b)\w+")


class Script(msgspec.Struct, frozen=True):
    source: bytes
    sha: str


def names() -> list[str]:
    """The names of all scripts, without the preludes."""
    found = {file.name.removesuffix(".lua") for file in (files("shared_schemas.stream") / "lua").iterdir()}
    return sorted(name for name in found if not name.endswith("prelude"))


@cache
def load(name: str) -> Script:
    """lua/<name>.lua as it is sent to Redis."""
    source = placed(_joined(name)).encode()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


def annotated(name: str) -> str:
    """The source of `load`, with the name behind each value in a Lua comment."""
    return placed(_joined(name), is_annotated=True)


def placed(source: str, *, is_annotated: bool = False) -> str:
    """Lua with values in place of the names marked with @: 16 for @FENCE, since `fence` is part 16
    of a stored job, or a constant of the Python side. is_annotated: `16 --[[@FENCE]]` instead.
    KeyError: an unknown name."""
    # Not local variables of the script: to pass thirty of them to its functions costs a tenth of a call.
    known = _PLACES | _constants()

    def value_of(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found[0]
        return f"{known[name]} --[[@{name}]]" if is_annotated else known[name]

    return _STRING_OR_NAME.sub(value_of, source)


@cache
def _constants() -> dict[str, str]:
    """Constants of the Python side, as Lua text.

    ENDED: the terminal states; END: the event that ends a timeline; RESULT_TTL (ms): for a damaged
    job whose own cannot be read; SHORT: how many fields hold a short timeline; SHORT_FIELDS: their
    names, as arguments; SHORT_BYTES: the longest event in such a field; GROUP, FRONT, ALONE: names
    of the consumer group and of two lanes; MOST: above it, a number of Lua no longer grows by one;
    LOG_LENGTH: about how many changes the log keeps if its key does not say; LOG_LINES: at most so
    many changes in one entry; LOG_STEP: the log is trimmed after so many changes; QUEUED: the state
    of jobs that wait for a worker; PACE_ENDS: a pace is measured over so many ends of attempts, if
    there were as many; EXACT_PLACES: the position of a job is exact if at most so many are before
    it in its lane; LANE_NAMES: the lanes as an array; STATE_IS_KNOWN, LANE_IS_KNOWN, HOME_IS_KNOWN:
    comparisons of the variables `state`, `lane` and `home` with every name that each may have.
    """
    corrupt = {**transition(Reason.FAILED, error=CORRUPT_JOB), "error": encode_json(CORRUPT_JOB).decode()}
    known: dict[str, Any] = {
        "STATES": set_of(JobState),
        "ENDED": set_of(state for state in JobState if state.is_terminal),
        "END": row_of(Reason.FAILED)["event"],
        "LANES": set_of(Lane),
        "WIRE_VERSION": WIRE_VERSION,
        "CORRUPT": {**corrupt, "dead": CORRUPT_JOB.code},
        "RESULT_TTL": 7 * 86_400_000,
        "SHORT": len(SHORT_FIELDS),
        "SHORT_BYTES": SHORT_BYTES,
        "GROUP": GROUP,
        "FRONT": Lane.FRONT,
        "ALONE": Lane.ALONE,
        "QUEUED": JobState.QUEUED,
        "MOST": 2**53,
        "LOG_LENGTH": 100_000,
        "LOG_LINES": 16,
        "LOG_STEP": 1000,
        "PACE_ENDS": 64,
        "EXACT_PLACES": 100,
    }
    return {name: _in_lua(value) for name, value in known.items()} | {
        "SHORT_FIELDS": ", ".join(map(_in_lua, SHORT_FIELDS)),
        "LANE_NAMES": "{" + ", ".join(map(_in_lua, Lane)) + "}",
        "STATE_IS_KNOWN": _is_one_of("state", JobState),
        "LANE_IS_KNOWN": _is_one_of("lane", Lane),
        "HOME_IS_KNOWN": _is_one_of("home", Lane),
    }


def _is_one_of(variable: str, names: Iterable[str]) -> str:
    """A comparison with constants costs a tenth of a lookup in a table."""
    return " or ".join(f"{variable} == {_in_lua(name)}" for name in names)


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


def _joined(name: str) -> str:
    preludes = _REGISTRY_PRELUDES if name in OF_REGISTRY | OF_ALL_QUEUES else _QUEUE_PRELUDES
    return _linked("\n".join(map(_read, preludes)), _read(name))


def _read(name: str) -> str:
    text = (files("shared_schemas.stream") / "lua" / f"{name}.lua").read_text()
    return _COMMENT.sub("", text)


def _linked(prelude: str, script: str) -> str:
    """The script, behind those declarations of the preludes that it needs.

    Redis creates every function of a script again in each call, even those that the script never
    calls.
    """
    needed, words = list[str](), _words(script)
    for declaration in reversed(_DECLARATION.findall(prelude)):
        if not words.isdisjoint(_declared(declaration)):
            needed.insert(0, declaration)
            words |= _words(declaration)
    return "".join(_as_late_as_possible(needed)) + script


def _as_late_as_possible(declarations: list[str]) -> list[str]:
    """The same declarations in another order: each behind all that it uses, but as late as
    possible.

    For each outer variable of a new function, Lua searches the list of all such variables, from the
    last declared one. In the order of the files, this search took half as much time again, and a
    tenth of a call that settles one job.
    """
    words = [_words(declaration) for declaration in declarations]
    users = [
        {place for place in range(first + 1, len(words)) if not words[place].isdisjoint(_declared(declaration))}
        for first, declaration in enumerate(declarations)
    ]
    left, ordered = list(range(len(declarations))), list[str]()
    while left:
        # There always is one: nothing that is left uses the last one.
        last = next(place for place in left if users[place].isdisjoint(left))
        left.remove(last)
        ordered.insert(0, declarations[last])
    return ordered


def _declared(declaration: str) -> list[str]:
    return _DECLARED.findall(declaration.partition("=")[0].partition("(")[0])


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text))


def _print(asked: list[str]) -> None:
    if unknown := [name for name in asked if name not in names()]:
        raise SystemExit(f"no script {', '.join(unknown)}; there are {', '.join(names())}")
    for name in asked or names():
        print(f"-- {name}: SHA-1 {load(name).sha} (of the text without the names)\n{annotated(name)}")


if __name__ == "__main__":
    _print(sys.argv[1:])

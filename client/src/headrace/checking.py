"""Checks arguments before anything is sent: specs, states, ids. Pure, and
knows no path of the API."""

from collections.abc import Mapping
from enum import StrEnum
from numbers import Integral, Real
from typing import Any, TypeVar

import msgspec
from shared_schemas.kinds import JobKind
from shared_schemas.specs import SPECS, JobOptions, JobSpec, kind_of_spec

from headrace.errors import InvalidJob
from headrace.values import plain

# Below this, each whole float stands for exactly one whole number.
_EXACT = 2.0**53

E = TypeVar("E", bound=StrEnum)


def spec_of(kind: JobKind, spec: object, fields: Mapping[str, Any]) -> JobSpec:
    """Check a spec, a mapping with its fields, or keywords. InvalidJob says
    what is wrong, and where."""
    if spec is not None and fields:
        raise InvalidJob("give a spec or keywords, not both")
    return checked(kind, fields if spec is None else spec, place="")


def checked(kind: JobKind, given: Any, *, place: str) -> JobSpec:
    """place: put before the names of fields in errors, such as `jobs[3].` in a list."""
    job, struct = place.removesuffix(".") or "the job", SPECS[kind]
    if isinstance(given, JobOptions):
        if not isinstance(given, struct):
            raise InvalidJob(f"{job} is a {type(given).__name__}, not a {struct.__name__}")
        given = _explicit_fields(given)
    if not isinstance(given, Mapping):
        raise InvalidJob(f"{job} is {type(given).__name__}, not a spec or its fields")
    fields = {str(name): plain(value, f"{place}{name}") for name, value in given.items() if value is not None}
    # The model's input is not an option: there, 5.0 stays 5.0 and None stays null.
    for name in fields.keys() - {struct.input_field}:
        fields[name] = _lenient(fields[name])
    try:
        return msgspec.convert(fields, struct)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"{job}: {error}" if place else str(error)) from None


def _explicit_fields(spec: JobSpec) -> dict[str, Any]:
    """The fields that differ from their defaults, so that the body holds nothing that
    the caller did not set."""
    fields = {}
    for field in msgspec.structs.fields(spec):
        value, default = getattr(spec, field.name), field.default
        if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        # Types are compared first: arrays answer == with an array.
        if type(value) is not type(default) or value != default:
            fields[field.encode_name] = value
    return fields


def _lenient(value: Any) -> Any:
    """An option as the caller means it: None counts as not given, and 5.0 as 5. Fields that
    hold fractions take both."""
    match value:
        case dict():
            return {name: _lenient(part) for name, part in value.items() if part is not None}
        case list():
            return [_lenient(part) for part in value]
        case float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
        case _:
            return value


def kind_of(given: Any, place: str) -> JobKind:
    """The kind of a job: by the type of the spec, by its field `kind`, or by the fields
    that the kind requires."""
    if isinstance(given, JobOptions):
        return kind_of_spec(given)
    if isinstance(given, Mapping):
        named = given.get("kind")
        kinds = [
            kind for kind in JobKind if (named == kind if named is not None else _required(kind).keys() & given.keys())
        ]
        if len(kinds) == 1:
            return kinds[0]
    wanted = (f"{_with_article(kind)} has {' and '.join(_required(kind))}" for kind in JobKind)
    raise InvalidJob(f"{place} is not a job: {', '.join(wanted)}")


def _required(kind: JobKind) -> dict[str, None]:
    """The names of required fields, in the order of the Struct."""
    return {field.name: None for field in msgspec.structs.fields(SPECS[kind]) if field.required}


def _with_article(kind: JobKind) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def one_of(known: type[E], given: str, what: str) -> E:
    """The member of `known` that `given` is or names. InvalidJob lists all of them."""
    try:
        return known(given)
    except ValueError:
        raise InvalidJob(f"unknown {what}: it is one of {', '.join(known)}") from None


def number_of(event: object) -> int:
    """The number of the last event that the caller has; 0 for none."""
    if event is None:
        return 0
    if not isinstance(event, Integral) or event < 0:
        raise InvalidJob("after is the number of an event: a whole number, 0 or more")
    return int(event)


def seconds_of(timeout_s: object) -> float | None:
    """A timeout. None: wait for ever."""
    if timeout_s is None:
        return None
    if not isinstance(timeout_s, Real) or timeout_s != timeout_s:
        raise InvalidJob("timeout_s is a number of seconds")
    return float(timeout_s)


def id_of(job: object) -> str:
    """The id of a job, given as itself or as an object with a job_id or an id."""
    found = next((value for name in ("job_id", "id") if isinstance(value := getattr(job, name, None), str)), job)
    if not isinstance(found, str) or found.strip(".") == "":
        raise InvalidJob("a job is named by its id, such as submit_training(…).job_id")
    return found

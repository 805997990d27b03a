"""How a setting is documented, and how it is read from an environment variable.

The variables are passed in as a mapping: nothing here reads the environment.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from shared_schemas.errors import InvalidInput

T = TypeVar("T", bound=msgspec.Struct)


class SettingsRejected(InvalidInput):
    code = "settings_rejected"


def setting(what: str, *, change: str = "", **limits: Any) -> Meta:
    """The documentation of a field, for people who run the service.

    what: a sentence that says what it sets and in which unit. change: completes the sentence
    "Change it if". limits: as msgspec.Meta takes them.
    """
    return Meta(description=what, extra={"change": change}, **limits)


def from_environ(settings: type[T], *, prefix: str, environ: Mapping[str, str]) -> T:
    """Build `settings` from the variables `PREFIX_FIELD_NAME`. A field without a variable keeps its
    default.

    SettingsRejected names the variable that is wrong, never its value, which may be a secret.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        variable = f"{prefix}{field.name.upper()}"
        if variable not in environ:
            if field.required:
                raise SettingsRejected(f"{variable} is not set")
            continue
        text = environ[variable]
        value: Any = _parts(text) if _is_sequence(field.type) else text
        try:
            values[field.name] = msgspec.convert(value, field.type, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsRejected(f"{variable}: {_without_value(str(error))}") from None
    return settings(**values)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_sequence(annotation: Any) -> bool:
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return get_origin(kind) in (tuple, list)


def _without_value(message: str) -> str:
    return message.split(" - at ")[0]

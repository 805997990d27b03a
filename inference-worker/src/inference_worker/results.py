"""What the results of all tasks have in common: warnings, and the error of an input that cannot be used.

Each task defines its own result.

JSON has no NaN: a number that is not finite becomes null, and nonfinite_count says how many numbers of the model's
output were not finite.
"""

from typing import Literal

import msgspec
from shared_schemas.errors import ErrorInfo, HeadraceError


class AnswerWarning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an answer may be worth less than others.

    outside_training_range: the feature is far from everything that the model was trained on. more: how many other
    features are too, which are not named. input_truncated: the text is longer than the model's context, so not all of
    it was read.
    """

    code: Literal["outside_training_range", "input_truncated"]
    feature: str | None = None
    more: int = 0


class Speed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How fast an answer was written. first_token_s: from when the worker had the prompt to the first token that
    it chose, in seconds. tokens_per_s: from that token to the last; null for a single one. resumed_tokens: how many
    tokens an earlier attempt had shown, from which this one went on."""

    first_token_s: float | None
    tokens_per_s: float | None
    resumed_tokens: int = 0


TRUNCATED = (AnswerWarning(code="input_truncated"),)


class ItemError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The error of one input, with the fields of ErrorInfo."""

    code: str
    message: str
    column: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """Takes the place of an answer where an input could not be used."""

    error: ItemError


def refused(error: HeadraceError) -> Refused:
    info: ErrorInfo = error.info()
    return Refused(ItemError(code=info.code, message=info.message, column=info.column))


def without_speed(answer: msgspec.Struct) -> msgspec.Struct:
    """The answer without what was measured while it was made, which no replay can give again."""
    if isinstance(getattr(answer, "speed", None), Speed):
        return msgspec.structs.replace(answer, speed=None)
    return answer

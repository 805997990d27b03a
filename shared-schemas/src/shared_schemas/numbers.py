"""Which text is a number: one rule for the cells of a data set and for every other text. Knows no
file and no column.

A number is a sign, digits with a point, and an exponent, in ASCII. Only the digits are required: 5,
-0.25, .5, 5., +1e-3. White space around it is ignored. These are not numbers here, although some
tools read them as numbers:

    nan, inf, Infinity         no finite value
    1,5   1,000   1 000        a comma or groups of digits: tools disagree about the value
    1_000   0x1F               notations of programming languages
    5 %   $5   (5)   5-        a person reads a number, a CSV tool a text
    digits of another script, a minus sign that is not ASCII's
"""

import re

# The largest whole number that JSON, Lua and JavaScript can all hold exactly: they use doubles.
LARGEST = 2**53 - 1

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_LONGEST_LOOKALIKE = 64
_CURRENCY = "$€£¥₹₽₩"
# Text that a person takes for a number, with what to write instead. The first pattern that matches gives the advice.
_LOOKALIKES = (
    (r"[+-]?[0-9]+(?:,[0-9]+)+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?", "write 1.5 for 1,5 and 1000 for 1,000"),
    (
        r"[+-]?[0-9]{1,3}(?:[.'\u2019_ \u00a0\u2009\u202f][0-9]{3})+(?:[.,][0-9]*)?",
        "write 1000 without anything in between",
    ),
    (rf"[+-]?{_NUMBER}\s*[%‰]", "write 0.05 or 5 for 5 %"),
    (rf"[+-]?[{_CURRENCY}]\s*{_NUMBER}|{_NUMBER}\s*[{_CURRENCY}]", "leave out the sign of the currency"),
    (rf"\({_NUMBER}\)|{_NUMBER}-|[\u2212\u2013]\s*{_NUMBER}", "write -5 with the minus sign of ASCII, in front"),
)
_ADVICE = tuple((re.compile(pattern), advice) for pattern, advice in _LOOKALIKES)


def parse_number(text: str) -> float | None:
    """The number that the text is; infinite if it is too large for float64; None if the text is not
    a number."""
    try:
        value = float(text)
    except ValueError:
        # float() leaves the separators U+001C to U+001F, which strip() takes for white space, in a text of ASCII.
        stripped = text.strip()
        return parse_number(stripped) if len(stripped) < len(text) else None
    # float() also takes underscores, the digits of every script, and words: nan, inf, infinity.
    is_finite = value - value == 0
    if is_finite and text.isascii() and "_" not in text:
        return value
    stripped = text.strip()
    is_word = not is_finite and stripped[-1].isalpha()
    return value if stripped.isascii() and "_" not in stripped and not is_word else None


def whole_number(text: str | bytes, *, most: int = LARGEST) -> int | None:
    """For text from a query, a header or a path: ASCII digits only, leading zeros allowed. None for
    anything else, and for a number above `most`."""
    if not (text.isascii() and text.isdigit()) or len(text) > 32:
        return None
    number = int(text)
    return number if number <= most else None


def is_not_finite(text: str) -> bool:
    """Whether a text says nan or inf, in any case and with any sign."""
    return _NOT_FINITE.fullmatch(text.strip()) is not None


def advice_on(text: str) -> str | None:
    """How to write a text that a person takes for a number and this module does not; None for any
    other text."""
    stripped = text.strip()
    if len(stripped) > _LONGEST_LOOKALIKE or not _DIGIT.search(stripped) or parse_number(stripped) is not None:
        return None
    if not stripped.isascii() and _is_number_of_python(stripped):
        return "write it with the digits 0 to 9"
    return next((advice for pattern, advice in _ADVICE if pattern.fullmatch(stripped)), None)


def _is_number_of_python(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

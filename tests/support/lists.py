"""List items for generated pages, wrapped to the width of the pages."""

import textwrap

MAX_COLUMNS = 99


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """The text in lines of at most 99 columns: the first behind `first`, the others behind `rest`.
    Words are never split."""
    return textwrap.fill(
        text,
        MAX_COLUMNS,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def item(*paragraphs: str) -> str:
    """A list item. Each further paragraph begins on a line of its own in the source."""
    first, *others = paragraphs
    lines = [wrapped(first, "- ", "  "), *(wrapped(text, "  ", "  ") for text in others)]
    return "\n".join(lines) + "\n"

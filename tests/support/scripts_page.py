"""Makes docs/scripts.md from the comment at the head of each script.

python -m tests.support.scripts_page            write the page
python -m tests.support.scripts_page --check    exit with 1 if the page is out of date
"""

import sys
import textwrap
from collections.abc import Iterator

from shared_schemas.stream import keys
from shared_schemas.stream.linking import OF_ALL_QUEUES, OF_REGISTRY, names

from tests.support.gateways import ROOT
from tests.support.lists import wrapped

PAGE = ROOT / "docs" / "scripts.md"
COMMAND = "uv run python -m tests.support.scripts_page"
FOLDER = ROOT / "shared-schemas" / "src" / "shared_schemas" / "stream" / "lua"

_HEAD = f"""\
# The scripts

This page is made from the heads of `shared_schemas/stream/lua/*.lua` by
`{COMMAND}`. Do not edit it.

[protocol.md](protocol.md) says how to call a script, what a transition is, and when a worker calls
which script. `tests/conformance` has examples of what each script does. Times are in milliseconds.
`{{a = true}}` is a map, and `{{x, y, …}}` an array.

Redis does not run these files as they are. The linker puts the declarations that a script uses in
front of it, and writes a number for each part of a stored job: `parts[@FENCE]` becomes
`parts[16]`. To read a script as it runs, with the names noted after the numbers:

    uv run python -m shared_schemas.stream.linking claim

The line number in an error of Redis, such as `user_script:12:`, counts the lines of this text
below its heading.
"""
LABELS = {"ARGS": "first map", "RARE": "second map", "RETURNS": "answer", "WHY": "why"}
_INDENT, _WIDTH = 12, 120


def page() -> str:
    return _HEAD + "".join(_section(name) for name in names())


def parts_of(name: str) -> dict[str, list[str]]:
    """The lines of each labelled part of a script's head, by label. What the script is for has the
    label ""."""
    parts: dict[str, list[str]] = {"": []}
    label = ""
    for line in (FOLDER / f"{name}.lua").read_text().splitlines():
        if not line.startswith("-- "):
            break
        first, _, rest = line[3:].partition(" ")
        if first in LABELS:
            label, text = first, rest.strip()
        else:
            text = line[3:].strip()
        parts.setdefault(label, []).append(text)
    return parts


def _section(name: str) -> str:
    return "\n".join([f"\n## {name}\n", *_lines(name)]) + "\n"


def _lines(name: str) -> Iterator[str]:
    parts = parts_of(name)
    tag = keys.MODELS if name in OF_REGISTRY else keys.ALL if name in OF_ALL_QUEUES else ""
    yield wrapped(" ".join(parts[""])) + f"\nIts tag is `{tag}`." * bool(tag)
    yield "\n```"
    for label, title in LABELS.items():
        lines = [
            piece for line in parts.get(label, ()) for piece in textwrap.wrap(line, _WIDTH, subsequent_indent="  ")
        ]
        for place, line in enumerate(lines):
            yield f"{title if place == 0 else '':<{_INDENT}}{line}"
    yield "```"


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        raise SystemExit(f"docs/scripts.md is out of date: {COMMAND}")


if __name__ == "__main__":
    main()

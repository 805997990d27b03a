"""How the text of a script is made of its file."""

import re
from importlib.resources import files

import pytest
from shared_schemas.stream import scripts
from shared_schemas.stream.record import RECORD


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("r[@FENCE] = r[@N]", "r[16] = r[7]"),
        ("set(job, @RETRY_OF, 1)", "set(job, 30, 1)"),
        ("r[STATE], STATE, N", "r[STATE], STATE, N"),
        ("call('STATE', 'N', \"DUE\")", "call('STATE', 'N', \"DUE\")"),
        ("a = '@STATE' .. r[@STATE] .. \"@N '\" .. r[@N]", "a = '@STATE' .. r[1] .. \"@N '\" .. r[7]"),
        (r"a = 'it\'s @STATE' .. r[@STATE]", r"a = 'it\'s @STATE' .. r[1]"),
        ("name .. '@' .. version", "name .. '@' .. version"),
    ],
)
def test_only_a_marked_name_outside_of_strings_becomes_a_place(written: str, sent: str) -> None:
    assert scripts.placed(written) == sent


@pytest.mark.parametrize("written", ["r[@FENSE]", "r[@]", "r[@fence]", "r[@FENCE2]"])
def test_a_marked_name_that_is_no_part_of_a_record_is_refused_when_the_script_is_loaded(written: str) -> None:
    with pytest.raises(KeyError):
        scripts.placed(written)


def test_no_script_names_a_part_without_its_mark() -> None:
    parts = "|".join(part.upper() for part in RECORD)
    for file in (files("shared_schemas.stream") / "lua").iterdir():
        code = re.sub(r"--.*|'[^']*'|\"[^\"]*\"", "", file.read_text())
        assert re.findall(rf"(?<!@)\b(?:{parts})\b", code) == [], file.name

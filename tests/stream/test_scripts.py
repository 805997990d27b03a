"""How the linker makes the text of a script from its file."""

import re
import subprocess
import sys
from importlib.resources import files

import pytest
from shared_schemas.stream import linking
from shared_schemas.stream.packed_job import JOB_PARTS


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("parts[@FENCE] = parts[@N]", "parts[16] = parts[7]"),
        ("set(job, @RETRY_OF, 1)", "set(job, 30, 1)"),
        ("parts[STATE], STATE, N", "parts[STATE], STATE, N"),
        ("call('STATE', 'N', \"DUE\")", "call('STATE', 'N', \"DUE\")"),
        ("a = '@STATE' .. parts[@STATE] .. \"@N '\" .. parts[@N]", "a = '@STATE' .. parts[1] .. \"@N '\" .. parts[7]"),
        (r"a = 'it\'s @STATE' .. parts[@STATE]", r"a = 'it\'s @STATE' .. parts[1]"),
        ("name .. '@' .. version", "name .. '@' .. version"),
    ],
)
def test_only_a_marked_name_outside_of_strings_becomes_a_place(written: str, sent: str) -> None:
    assert linking.placed(written) == sent


@pytest.mark.parametrize("written", ["parts[@FENSE]", "parts[@]", "parts[@fence]", "parts[@FENCE2]"])
def test_a_marked_name_that_is_no_part_of_a_job_is_refused_when_the_script_is_loaded(written: str) -> None:
    with pytest.raises(KeyError):
        linking.placed(written)


def test_every_script_can_be_printed_as_it_is_sent_with_the_names_of_its_values() -> None:
    command = [sys.executable, "-m", "shared_schemas.stream.linking"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    texts = re.split(r"^-- (\w+): SHA-1 (\w+) .*\n", printed, flags=re.MULTILINE)[1:]

    assert texts[::3] == linking.names()
    for name, sha, text in zip(texts[::3], texts[1::3], texts[2::3], strict=True):
        sent = linking.load(name)
        without_names, n_names = re.subn(r" --\[\[@\w+\]\]", "", text)
        assert (without_names.removesuffix("\n"), sha) == (sent.source.decode(), sent.sha)
        assert n_names == len(re.findall(r"--\[\[", text))
    assert "parts[16 --[[@FENCE]]] ~= item.fence" in texts[texts.index("renew") + 2]


def test_printing_a_script_that_is_not_there_says_which_there_are() -> None:
    command = [sys.executable, "-m", "shared_schemas.stream.linking", "claim", "clam"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"no script clam; there are attempts, .*\bclaim\b", done.stderr)


def test_no_script_names_a_part_without_its_mark() -> None:
    parts = "|".join(part.upper() for part in JOB_PARTS)
    for file in (files("shared_schemas.stream") / "lua").iterdir():
        code = re.sub(r"--.*|'[^']*'|\"[^\"]*\"", "", file.read_text())
        assert re.findall(rf"(?<!@)\b(?:{parts})\b", code) == [], file.name

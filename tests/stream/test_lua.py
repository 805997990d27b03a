"""luacheck finds no undefined name and no unused declaration in the Lua scripts, as Redis receives them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from shared_schemas.stream.bundle import bundle

ROOT = Path(__file__).parents[2]
LUACHECK = shutil.which("luacheck")
pytestmark = pytest.mark.skipif(LUACHECK is None, reason="luacheck is not installed: apt-get install lua-check")


def luacheck(*files: Path) -> subprocess.CompletedProcess[str]:
    assert LUACHECK is not None
    command = [LUACHECK, "--no-color", "--no-cache", "--codes", "--formatter", "plain", *map(str, files)]
    return subprocess.run(
        [*command, "--config", str(ROOT / ".luacheckrc")], capture_output=True, text=True, check=False
    )


def test_luacheck_finds_nothing_in_the_scripts(tmp_path: Path) -> None:
    scripts = bundle()["scripts"]
    for name, script in scripts.items():
        (tmp_path / f"{name}.lua").write_text(script["source"])

    report = luacheck(*sorted(tmp_path.iterdir()))

    assert len(scripts) > 20
    assert report.stdout.strip() == ""
    assert report.returncode == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("return key_of(ARGV[1])", "W113"),
        ("n = redis.call('INCR', KEYS[1])", "W111"),
        ("local n = 1", "W211"),
        ("return os.time()", "W113"),
        ("if true then", "E011"),
    ],
)
def test_luacheck_finds_a_fault(fault: str, code: str, tmp_path: Path) -> None:
    file = tmp_path / "faulty.lua"
    file.write_text(fault + "\n")

    assert f"({code})" in luacheck(file).stdout

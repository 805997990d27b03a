"""The commands in CONTRIBUTING.md exist, and the git hooks run the linters of CI."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_contributing_names_every_recipe_of_the_justfile_with_its_purpose() -> None:
    just = Path(sys.executable).with_name("just")
    dump = subprocess.run([just, "--dump", "--dump-format", "json"], cwd=ROOT, capture_output=True, check=True)
    recipes = {name: recipe for name, recipe in json.loads(dump.stdout)["recipes"].items() if not recipe["private"]}
    named = set(re.findall(r"uv run just (\w+)", (ROOT / "CONTRIBUTING.md").read_text()))

    assert named == set(recipes)
    assert [name for name, recipe in recipes.items() if not recipe["doc"]] == []


def test_the_git_hooks_run_the_linters_of_ci() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    _, step = (ROOT / ".ci/run").read_text().split('step "lint, format, types"\n')
    linters = step.split("\n\n")[0].splitlines()

    assert len(linters) >= 3
    assert [linter for linter in linters if f"entry: {linter}" not in hooks] == []


def test_the_workflow_only_calls_ci_run() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()

    assert re.findall(r"^ +- (run: .*)$", workflow, re.MULTILINE) == ["run: bash .ci/run"]

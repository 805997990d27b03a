# What people do here, by name. `uv run just` lists it.
# CI runs .ci/run, which needs nothing of this file.

_list:
    @uv run just --list --unsorted

# install every member, the tools and the git hooks
setup:
    uv sync --frozen
    uv run prek install

# start the whole system on sample data, train, ask and replay; leaves nothing behind
demo:
    uv run headrace demo

# the tests that need no other process; or those of the given paths
test *paths="tests/schemas tests/architecture tests/store":
    uv run pytest -q -n 0 {{ paths }}

# everything that a change must pass
check:
    bash .ci/run

# sort imports, format, and make the generated pages again
format:
    uv run ruff check --fix
    uv run ruff format
    uv run python -m tests.chaos.faults
    uv run python -m tests.support.errors_page
    uv run python -m tests.support.scripts_page
    uv run python -m tests.support.settings_page
    uv run python -m tests.support.concepts_page
    uv run python -m tests.support.events_page

# print which lines and branches of shared_schemas its tests reach, and fail below 81 %; takes minutes
coverage:
    uv run pytest -q --cov=shared_schemas --cov-report=term-missing:skip-covered --cov-fail-under=81 \
        tests/schemas tests/store tests/stream

# run every script of findings/; installs many packages, takes a long time, and is not part of CI
findings:
    #!/usr/bin/env bash
    set -uo pipefail
    failed=()
    for script in findings/*.sh; do
      echo "== $script"
      bash "$script" || failed+=("$script")
    done
    for script in "${failed[@]}"; do echo "$script: no longer seen, or could not be run"; done
    [ ${#failed[@]} = 0 ]

"""Warnings name versions of Redis with known bugs, and a password file that everybody may read."""

from pathlib import Path

import pytest
from shared_schemas.stream.known_bugs import KNOWN_BUGS, password_warning, warnings_of

from tests.support.gateways import ROOT

REDIS = [
    ("6.2.19", 1), ("6.2.20", 0), ("7.0.15", 1), ("7.2.10", 1), ("7.2.11", 0), ("7.4.5", 2), ("7.4.6", 0),
    ("8.0.3", 1), ("8.0.4", 0), ("8.2.0", 2), ("8.2.2", 1), ("8.2.3", 0), ("8.4.0", 0), ("255.255.255", 0), ("", 0),
    ("7.x", 0),
]  # fmt: skip
VALKEY = [
    ("7.2.10", 2),
    ("7.2.11", 1),
    ("7.2.12", 0),
    ("8.0.6", 1),
    ("8.1.3", 2),
    ("8.1.6", 0),
    ("9.0.1", 1),
    ("9.0.2", 0),
]


@pytest.mark.quick
@pytest.mark.parametrize(("version", "n"), REDIS)
def test_a_bad_redis_is_warned_of_by_its_number(version: str, n: int) -> None:
    warnings = warnings_of({"redis_version": version})

    assert len(warnings) == n
    assert all(warning.startswith(f"Redis {version}: ") and "https://" in warning for warning in warnings)


@pytest.mark.quick
@pytest.mark.parametrize(("version", "n"), VALKEY)
def test_valkey_is_known_by_its_own_number(version: str, n: int) -> None:
    warnings = warnings_of({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": version})

    assert len(warnings) == n
    assert all(warning.startswith(f"Valkey {version}: ") for warning in warnings)


@pytest.mark.quick
def test_of_another_server_nothing_is_known() -> None:
    assert warnings_of({"redis_version": "7.2.4", "dragonfly_version": "df-v1.30.0"}) == []
    assert warnings_of({"redis_version": "7.0.15", "server_name": "other"}) == []


@pytest.mark.quick
def test_the_page_names_each_of_them() -> None:
    page = (ROOT / "docs/operations.md").read_text()

    for bug in KNOWN_BUGS:
        _, heading, section = page.partition(f"\n### {bug.why[:1].upper()}{bug.why[1:]}\n")
        assert heading
        assert f"\n- {bug.server} {bug.versions} ([source]({bug.source}))\n" in section.partition("\n#")[0]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("mode", "is_warned"), [(0o600, False), (0o400, False), (0o440, False), (0o644, True), (0o602, True)]
)
def test_a_password_file_that_everybody_may_read_is_warned_of(tmp_path: Path, mode: int, is_warned: bool) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret")
    file.chmod(mode)

    warning = password_warning(str(file))

    assert (warning is not None) is is_warned
    assert warning is None or (f"{mode:04o}" in warning and "s3cret" not in warning)


@pytest.mark.quick
def test_no_password_file_and_one_that_is_not_there_yet_are_not_warned_of(tmp_path: Path) -> None:
    assert password_warning("") is None
    assert password_warning(str(tmp_path / "none")) is None

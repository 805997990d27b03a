"""Versions of Redis and Valkey with known bugs: the version, the reason and a source.

Asks no server. Reads only the mode of the password file. `fitness` says what makes a server unfit
to keep jobs at all.
"""

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

Version = tuple[int, int, int]
# Distributions fix bugs without a new version number.
BACKPORTED = "unless the distribution has fixed it without a new version number"


class KnownBug(msgspec.Struct, frozen=True, kw_only=True):
    """since: the first version of a release series with the bug. mended: the first version without it; None if the
    series has none."""

    server: str
    since: Version
    mended: Version | None
    why: str
    source: str

    @property
    def versions(self) -> str:
        first = ".".join(map(str, self.since))
        return f"{first} and later of {first[:3]}" if self.mended is None else f"{first} to before {_text(self.mended)}"


def _text(version: Version) -> str:
    return ".".join(map(str, version))


_LUA = "anyone who may run a script can run code in the server (CVE-2025-49844)"
_LUA_REDIS = "https://redis.io/blog/security-advisory-cve-2025-49844/"
_LUA_VALKEY = "https://osv.dev/vulnerability/BIT-valkey-2025-46818"
_ERRORS = "the error of a script can change what others read over the same connection (CVE-2025-67733)"
_ERRORS_VALKEY = "https://osv.dev/vulnerability/BIT-valkey-2025-67733"


def _bugs(server: str, why: str, source: str, *lines: tuple[Version, Version | None]) -> list[KnownBug]:
    return [KnownBug(server=server, since=since, mended=mended, why=why, source=source) for since, mended in lines]


KNOWN_BUGS = (
    *_bugs(
        "Redis", _LUA, _LUA_REDIS,
        ((6, 2, 0), (6, 2, 20)), ((7, 0, 0), None), ((7, 2, 0), (7, 2, 11)), ((7, 4, 0), (7, 4, 6)),
        ((8, 0, 0), (8, 0, 4)), ((8, 2, 0), (8, 2, 2)),
    ),
    *_bugs(
        "Redis", "anyone who may use XACKDEL can run code in the server (CVE-2025-62507)",
        "https://osv.dev/vulnerability/CVE-2025-62507", ((8, 2, 0), (8, 2, 3)),
    ),
    *_bugs(
        "Redis", "a blocking read may never return (#14165)", "https://github.com/redis/redis/pull/14165",
        ((7, 4, 0), (7, 4, 6)),
    ),
    *_bugs(
        "Valkey", _LUA, _LUA_VALKEY, ((7, 2, 0), (7, 2, 11)), ((8, 0, 0), (8, 0, 6)), ((8, 1, 0), (8, 1, 4)),
    ),
    *_bugs(
        "Valkey", _ERRORS, _ERRORS_VALKEY,
        ((7, 2, 0), (7, 2, 12)), ((8, 0, 0), (8, 0, 7)), ((8, 1, 0), (8, 1, 6)), ((9, 0, 0), (9, 0, 2)),
    ),
)  # fmt: skip
_NUMBER = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", re.ASCII)


def warnings_of(facts: Mapping[str, Any]) -> list[str]:
    """facts: the reply of INFO. -> one sentence for each known bug of this server, with its number."""
    # Valkey also reports the version of Redis that it is compatible with. Other servers report only that.
    name = "Valkey" if "valkey_version" in facts else "Redis"
    if (name == "Redis" and str(facts.get("server_name", "redis")) != "redis") or "dragonfly_version" in facts:
        return []
    number = _NUMBER.match(str(facts.get(f"{name.lower()}_version", "")))
    if number is None:
        return []
    major, minor, patch = map(int, number.groups())
    version = (major, minor, patch)
    return [
        f"{name} {_text(version)}: {bug.why}, {BACKPORTED}; {_remedy(bug)} ({bug.source})"
        for bug in KNOWN_BUGS
        if bug.server == name and version[:2] == bug.since[:2] and _has(bug, version)
    ]


def _has(bug: KnownBug, version: Version) -> bool:
    return bug.since <= version and (bug.mended is None or version < bug.mended)


def _remedy(bug: KnownBug) -> str:
    return "fixed in newer versions" if bug.mended is None else f"fixed in {_text(bug.mended)}"


def password_warning(password_file: str) -> str | None:
    """One sentence if others than the owner and the group may read or write the file."""
    try:
        mode = Path(password_file).stat().st_mode if password_file else 0
    except OSError:
        # The file may come later. Whoever connects reports that it is missing.
        return None
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return None
    return f"HEADRACE_REDIS_PASSWORD_FILE may be read by everyone on this machine (mode {mode & 0o777:04o}): chmod 600"

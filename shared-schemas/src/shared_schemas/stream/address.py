"""Checks the URL of Redis. Connects to nothing, and never repeats a part of the URL, which may hold a password.

redis-py accepts almost anything: a path that is not a number is database 0, `/1/2` is database 12, port 0 is 6379. It
passes each option of the query to its connections, even those that Headrace sets itself.
"""

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

SCHEMES = ("redis://", "rediss://", "unix://")
# Options of the query and the values that they may have.
_ANY = re.compile(r"(?s:.+)")
_OPTIONS = {
    "db": re.compile(r"[0-9]{1,6}"),
    "username": _ANY,
    "password": _ANY,
    "client_name": re.compile(r"[!-~]+"),
}
_TLS_OPTIONS = {
    "ssl_ca_certs": _ANY,
    "ssl_ca_path": _ANY,
    "ssl_certfile": _ANY,
    "ssl_keyfile": _ANY,
    "ssl_password": _ANY,
    "ssl_ciphers": _ANY,
    "ssl_cert_reqs": re.compile(r"none|optional|required"),
    "ssl_check_hostname": re.compile(r"(?i:true|false|yes|no|1|0)"),
    "ssl_min_version": re.compile(r"77[12]"),
}
# What the clients of this package rely on.
_OWN_OPTIONS = frozenset(
    (
        "connection_class",
        "credential_provider",
        "decode_responses",
        "driver_info",
        "encoding",
        "encoding_errors",
        "encoder_class",
        "event_dispatcher",
        "health_check_interval",
        "host",
        "legacy_responses",
        "lib_name",
        "lib_version",
        "max_connections",
        "parser_class",
        "path",
        "port",
        "protocol",
        "redis_connect_func",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "single_connection_client",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_read_size",
        "socket_timeout",
        "socket_type",
        "ssl",
        "timeout",
    )
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_BLANK = re.compile(r"[\x00-\x20\x7f-\xa0]")
_ENCODE = "characters with a meaning in a URL (/ ? # @ [ and ]) must be percent-encoded in a name or a password"


def fault_of_url(url: str) -> str | None:
    """What is wrong with the URL, in one sentence without any of its values. None if it can be used."""
    if not url.startswith(SCHEMES):
        return f"must begin with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
    if _BLANK.search(url):
        return "has white space or control characters in it"
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"cannot be parsed: {_ENCODE}"
    # A name or a password contains one of these characters. Nothing after it may be repeated.
    if parts.fragment or "#" in url or "@" in parts.query or (parts.scheme != "unix" and "@" in parts.path):
        return f"has an @ or a # in a place where neither can be: {_ENCODE}"
    fault = _fault_of_socket(parts) if parts.scheme == "unix" else _fault_of_host(parts)
    return fault or _fault_of_query(parts)


def has_credentials(url: str) -> bool:
    """Whether the URL has a user name or a password. url: one for which fault_of_url returned
    None."""
    parts = urlsplit(url)
    return "@" in parts.netloc or any(name in ("username", "password") for name, _ in parse_qsl(parts.query))


def _fault_of_socket(parts: SplitResult) -> str | None:
    if parts.netloc.rpartition("@")[2] or len(parts.path) < 2:
        return "must name a socket by its whole path, such as unix:///run/redis.sock"
    return None


def _fault_of_host(parts: SplitResult) -> str | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return f"has a port that is not a whole number from 1 to 65535; {_ENCODE}"
    if re.fullmatch(r"/?|/[0-9]{1,6}", parts.path) is None:
        return "must end with the number of a database, such as /0"
    return None


def _fault_of_query(parts: SplitResult) -> str | None:
    if not parts.query:
        return None
    if "+" in parts.query:
        return "has a + among its options, which stands for a space: write %2B or %20"
    try:
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "has an option without a value"
    allowed = _OPTIONS | (_TLS_OPTIONS if parts.scheme == "rediss" else {})
    for name, value in options:
        if name in _OWN_OPTIONS:
            return f"has the option {name}, which Headrace sets itself: leave it out"
        if name in _TLS_OPTIONS and name not in allowed:
            return f"has the option {name}, which is for rediss:// alone"
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            return f"has {_named(name)}, which is not known; the known options are {known}"
        if allowed[name].fullmatch(value) is None:
            return f"has the option {name} with a value that it cannot have"
    return _fault_together(parts, [name for name, _ in options])


def _named(name: str) -> str:
    return f"the option {name}" if _NAME.fullmatch(name) else "an option"


def _fault_together(parts: SplitResult, names: list[str]) -> str | None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return f"has the option {twice} more than once"
    if "db" in names and parts.scheme != "unix" and parts.path.strip("/"):
        return "names a database both by its path and by the option db"
    return None

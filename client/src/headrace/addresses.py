"""Finds the address of the gateway and the proxy: URL, profile, environment. Opens no connection.

The clients and the command line use this module, so they find the same gateway. The first of these
counts:

1. the URL or the profile that was given;
2. HEADRACE_URL;
3. the profile named by HEADRACE_PROFILE;
4. the profile named by `profile` in the configuration file;
5. http://127.0.0.1:8000.

The configuration file is `headrace/config.toml` in XDG_CONFIG_HOME or ~/.config:

    profile = "lab"

    [profiles.lab]
    url = "https://headrace.lab.example"
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from headrace.errors import InvalidSettings

DEFAULT_URL = "http://127.0.0.1:8000"
_PORTS = {"http": 80, "https": 443}
_SOCKS = ("socks4", "socks4a", "socks5", "socks5h", "socks")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """prefix: put before every path of the API, without a slash at its end. user: `name:password`
    for basic authentication. origin: the URL without the user, for messages."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    user: str | None = None

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"

    def credentials(self) -> tuple[str, str] | None:
        if self.user is None:
            return None
        name, _, password = self.user.partition(":")
        return name, password

    def authorization(self) -> str | None:
        return None if self.user is None else "Basic " + b64encode(self.user.encode()).decode()


def find(url: str | None = None, *, profile: str | None = None, environ: Mapping[str, str] = os.environ) -> Address:
    """The address of the gateway. InvalidSettings says what is wrong, and in which setting."""
    if url is not None and profile is not None:
        raise InvalidSettings("give a URL or a profile, not both")
    if url is not None:
        return address_of(url, "the URL")
    if profile is None and environ.get("HEADRACE_URL"):
        return address_of(environ["HEADRACE_URL"], "HEADRACE_URL")
    named = profile or environ.get("HEADRACE_PROFILE")
    file = _config_file(environ)
    config = _read(file)
    name = named or config.get("profile")
    if name is None:
        return address_of(DEFAULT_URL, "the default")
    profiles = config.get("profiles", {})
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = f"it has {', '.join(sorted(profiles))}" if isinstance(profiles, dict) and profiles else "it has none"
        raise InvalidSettings(f"there is no profile {name!r} in {file}: {known}")
    if strange := profiles[name].keys() - {"url"}:
        raise InvalidSettings(f"{sorted(strange)[0]!r} of profile {name!r} in {file} is unknown: a profile has a url")
    return address_of(profiles[name].get("url"), f"the url of profile {name!r} in {file}")


def address_of(url: object, what: str) -> Address:
    """Parse a URL. what: names the setting that holds it, for errors."""
    if not isinstance(url, str):
        raise InvalidSettings(f"{what} is not a URL: write one such as {DEFAULT_URL}")
    parts = _split(url.strip(), what)
    if parts.scheme not in _PORTS:
        if "://" not in url:
            raise InvalidSettings(f"{what} has no scheme: write http://… or https://…")
        raise InvalidSettings(f"{what} has the scheme {parts.scheme!r}: it is http or https")
    if parts.query or parts.fragment:
        raise InvalidSettings(f"{what} has a query or a fragment: it ends with the path")
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        prefix=parts.path.rstrip("/"),
        user=user,
    )


def proxy_for(address: Address, environ: Mapping[str, str] = os.environ) -> Address | None:
    """The proxy that the environment names for the address, by the rules of curl. None: connect
    directly, as always to a loopback address. InvalidSettings if the proxy cannot be used."""
    if is_loopback(address.host):
        return None
    name, value = _named(f"{address.scheme}_proxy", environ)
    if not value:
        name, value = _named("all_proxy", environ)
    if not value or _is_exempt(address, _named("no_proxy", environ)[1]):
        return None
    # The scheme of a proxy is often left out.
    parts = _split(value if "://" in value else f"http://{value}", name)
    if parts.scheme in _SOCKS:
        raise InvalidSettings(
            f"{name} names a SOCKS proxy, which Headrace's client does not speak: add {address.host} to NO_PROXY, or"
            f" name an HTTP proxy in {address.scheme}_proxy"
        )
    if parts.scheme not in _PORTS:
        raise InvalidSettings(f"{name} names a proxy with the scheme {parts.scheme!r}: it is http or https")
    if parts.scheme == "https" and address.scheme == "https":
        raise InvalidSettings(f"{name} names a proxy that is itself reached by https, on the way to https: use http")
    return address_of(parts._replace(path="").geturl(), name)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if not host.replace(".", "").isdigit() and ":" not in host:
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str, what: str) -> SplitResult:
    """Split a URL and check its host and port. Errors do not repeat the URL,
    which may hold a password."""
    if any(char.isspace() or not char.isprintable() for char in url):
        raise InvalidSettings(f"{what} has a blank or a control character in it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        why = "its port is not a number up to 65535" if "ort" in str(error) else str(error)
        raise InvalidSettings(f"{what} is malformed: {why}") from None
    if parts.netloc == "" and parts.scheme not in _PORTS:
        return parts
    if not host or port == 0:
        raise InvalidSettings(f"{what} is malformed: it has no {'port' if host else 'host'}")
    try:
        host.encode("idna")
    except UnicodeError:
        raise InvalidSettings(f"{what} is malformed: its host is not a valid name") from None
    return parts


def _named(variable: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """-> (spelling, value) of a variable in lower or upper case. Lower case takes precedence."""
    upper = variable.upper()
    # Under CGI, HTTP_PROXY comes from a request header that anybody can send (https://httpoxy.org).
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return variable, environ.get(variable, "").strip()
    return next(((name, environ[name].strip()) for name in (variable, upper) if environ.get(name)), (variable, ""))


def _is_exempt(address: Address, no_proxy: str) -> bool:
    """no_proxy: names, which include their subdomains, addresses and networks, each
    with or without a port."""
    for entry in no_proxy.lower().replace(",", " ").split():
        entry = entry.partition("://")[2] or entry
        if entry == "*":
            return True
        host, port = _host_and_port(entry)
        if port not in ("", str(address.port)):
            continue
        name = host.removeprefix("*").removeprefix(".")
        own = address.host.lower().rstrip(".")
        if name and (own == name or own.endswith(f".{name}") or _is_within(own, host)):
            return True
    return False


def _host_and_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _is_within(host: str, network: str) -> bool:
    if not (host.replace(".", "").isdigit() or ":" in host):
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _config_file(environ: Mapping[str, str]) -> Path:
    folder = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(folder) / "headrace" / "config.toml"


def _read(file: Path) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidSettings(f"{file} cannot be read: {why}") from None
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{file} is not TOML: {error}") from None

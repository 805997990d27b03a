"""Which host names a request may use to reach the gateway. Knows the Host header and no route.

A web page can point a name of its own at this machine, and then call what listens here as if it
were the page's own server (DNS rebinding). But it cannot make its browser send another name in Host
than the page's own.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from functools import lru_cache

from gateway.edge.problems import ProblemError

# A valid Host header (RFC 9110, section 7.2). The name is without the port.
_HOST = re.compile(rb"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?")


class Hosts:
    """configured: names; `*.domain` for all names below a domain, `*` for any name. listens_on: the
    address that the gateway is bound to. If other machines can reach it, IP addresses and the name
    of this machine are allowed as well: no page can have one of those as its own name."""

    def __init__(self, configured: Collection[str], *, listens_on: str) -> None:
        given = {_plain(name) for name in configured if name.strip()}
        self._takes_any = "*" in given
        self._domains = tuple(name[1:] for name in given if name.startswith("*."))
        self._names = {name for name in given if not name.startswith("*")} | {"localhost"}
        self._takes_addresses = not _is_loopback(_plain(listens_on))
        if self._takes_addresses:
            self._names |= {_plain(socket.gethostname()), _plain(listens_on)}
        # Nearly all requests name one of a few hosts.
        self.refusal_of = lru_cache(maxsize=256)(self._refusal_of)

    def _refusal_of(self, host: bytes | None) -> ProblemError | None:
        """host: the header; None if it was not sent, or more than once. -> None if the request may
        be served."""
        match = None if host is None else _HOST.fullmatch(host.strip())
        if match is None:
            return ProblemError(400, "malformed_request", "a request names its host once, in Host")
        if self._allows(match["name"]):
            return None
        return ProblemError(
            421, "host_not_allowed", "this host name is not accepted; HEADRACE_HOSTS sets the names that are"
        )

    def _allows(self, host: bytes) -> bool:
        name = _plain(host.decode())
        if self._takes_any or name in self._names or name.endswith((".localhost", *self._domains)):
            return True
        address = _address(name)
        # The unspecified address (0.0.0.0) leads to this machine, too.
        return address is not None and (self._takes_addresses or address.is_unspecified or _is_loopback(name))


def _plain(name: str) -> str:
    """The name in lower case, without the brackets of an IPv6 address or a dot at the end."""
    return name.strip().lower().strip("[]").removesuffix(".")


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address

"""By which names the gateway may be called. Knows headers, not what is asked for.

A page anywhere can make a name of its own lead to this machine, and then call what listens here as if it were its own
server (DNS rebinding). It cannot make its browser send another name than its own.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from functools import lru_cache

from gateway.edge.problems import ProblemError

# What Host may look like (RFC 9110, section 7.2), its port apart.
_HOST = re.compile(rb"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?")


class Hosts:
    """configured: names, `*.domain` for all below one, `*` for any. listens_on: the address that the gateway is bound
    to. Where others can reach that, addresses will do as well, and the name of the machine: no page can have either
    for its own."""

    def __init__(self, configured: Collection[str], *, listens_on: str) -> None:
        given = {_plain(name) for name in configured if name.strip()}
        self._takes_any = "*" in given
        self._domains = tuple(name[1:] for name in given if name.startswith("*."))
        self._names = {name for name in given if not name.startswith("*")} | {"localhost"}
        self._takes_addresses = not _is_loopback(_plain(listens_on))
        if self._takes_addresses:
            self._names |= {_plain(socket.gethostname()), _plain(listens_on)}
        # The same few over and over.
        self._verdict = lru_cache(maxsize=256)(self._judge)

    def check(self, host: bytes | None, n_given: int, http_version: str) -> ProblemError | None:
        """host: the header, given n_given times. None: the request may be served."""
        if host is None and http_version == "1.0":
            return None
        return self._verdict(host if n_given == 1 else None)

    def _judge(self, host: bytes | None) -> ProblemError | None:
        match = None if host is None else _HOST.fullmatch(host.strip())
        if match is None:
            return ProblemError(400, "malformed_request", "a request names its host once, in Host")
        if self._allows(match["name"]):
            return None
        return ProblemError(
            421, "host_not_allowed", "the gateway is not called by that name; HEADRACE_HOSTS lists those that it takes"
        )

    def _allows(self, host: bytes) -> bool:
        name = _plain(host.decode())
        if self._takes_any or name in self._names or name.endswith((".localhost", *self._domains)):
            return True
        address = _address(name)
        # The unspecified address leads to the own machine, too.
        return address is not None and (self._takes_addresses or address.is_unspecified or _is_loopback(name))


def _plain(name: str) -> str:
    """Without the brackets of an IPv6 address and the dot of a whole name, in lower case."""
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

"""Which methods each path has: what Allow says in a 405 and in the answer to OPTIONS. Knows paths, not what they do."""

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, Route

_EVERYWHERE = "OPTIONS"


class Methods:
    """Of all routes of a path together: the router would name those of the first alone."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes: list[tuple[re.Pattern[str], set[str]]] = []
        for route in routes:
            if isinstance(route, Mount):  # files
                self._routes.append((route.path_regex, {"GET", "HEAD"}))
            elif isinstance(route, Route) and route.methods:
                self._routes.append((route.path_regex, route.methods | ({"HEAD"} if "GET" in route.methods else set())))

    def of(self, path: str) -> list[str]:
        """In the order of the alphabet; none where there is no such path. `*`: those of any path."""
        found = {name for regex, names in self._routes if path == "*" or regex.match(path) for name in names}
        return sorted({*found, _EVERYWHERE}) if found else []

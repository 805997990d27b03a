"""Which methods each path has: what Allow says in a 405 and in the answer to OPTIONS. Knows paths, not what they do."""

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, Route

_EVERYWHERE = "OPTIONS"


class Methods:
    """Of all routes of a path together: the router would name those of the first alone. A path that is a route of its
    own is no other's: /jobs/training is no job."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._exact: dict[str, set[str]] = {}
        self._routes: list[tuple[re.Pattern[str], set[str]]] = []
        for route in routes:
            if isinstance(route, Mount):  # files
                self._routes.append((route.path_regex, {"GET", "HEAD"}))
            elif isinstance(route, Route) and route.methods:
                methods = route.methods | ({"HEAD"} if "GET" in route.methods else set())
                if "{" in route.path:
                    self._routes.append((route.path_regex, methods))
                else:
                    self._exact.setdefault(route.path, set()).update(methods)

    def of(self, path: str) -> list[str]:
        """In the order of the alphabet; none where there is no such path. `*`: those of any path."""
        if path == "*":
            found = {name for names in (*self._exact.values(), *(names for _, names in self._routes)) for name in names}
        elif path in self._exact:
            found = self._exact[path]
        else:
            found = {name for regex, names in self._routes if regex.match(path) for name in names}
        return sorted({*found, _EVERYWHERE}) if found else []

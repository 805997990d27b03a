"""Finds the routes of a path. Knows paths and methods, not what routes do."""

from collections.abc import Iterable, Mapping

import msgspec

from gateway.routes.route import Route

_NO_PARAMETERS: dict[str, str] = {}


class _Node:
    """A place in a path with parameters. literal: the places after a literal segment. any: the
    place after a parameter."""

    __slots__ = ("any", "literal", "names", "routes")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.routes: dict[str, Route] = {}
        self.names: tuple[str, ...] = ()


class Match(msgspec.Struct, frozen=True, gc=False):
    """The routes of a path by their methods, and the parameters in the path."""

    routes: Mapping[str, Route]
    parameters: dict[str, str]

    @property
    def allowed(self) -> list[str]:
        """The methods of the path, sorted."""
        return _with_implied(self.routes)


class Paths(dict[str, Match | None]):
    """The Match of each path, None where no route has it. A path without parameters wins over one
    with parameters: /jobs/training is not a job."""

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__()
        exact: dict[str, dict[str, Route]] = {}
        self._root = _Node()
        methods = set[str]()
        for route in routes:
            methods.add(route.method)
            if "{" in route.path:
                self._add(route)
            else:
                exact.setdefault(route.path, {})[route.method] = route
        self.update({path: Match(found, _NO_PARAMETERS) for path, found in exact.items()})
        self.methods = _with_implied(methods)

    def __missing__(self, path: str) -> Match | None:
        """Not stored, because callers choose the paths."""
        node, values = self._root, []
        for segment in path.split("/"):
            inner = node.literal.get(segment)
            if inner is None:
                if node.any is None or not segment:
                    return None
                inner = node.any
                values.append(segment)
            node = inner
        return Match(node.routes, dict(zip(node.names, values, strict=True))) if node.routes else None

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        for segment in route.path.split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        node.routes[route.method], node.names = route, tuple(names)


def _with_implied(methods: Iterable[str]) -> list[str]:
    found = {*methods, "OPTIONS"}
    return sorted(found | {"HEAD"} if "GET" in found else found)

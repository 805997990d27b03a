"""Errors of `headrace up`, `demo` and `gc`. Each message says what a person can do."""


class LocalError(Exception):
    """The command cannot be carried out."""


class NoRedis(LocalError):
    pass


class PortTaken(LocalError):
    pass


class DataDirInUse(LocalError):
    pass


class DataDirUnusable(LocalError):
    pass


class NotReady(LocalError):
    """A service did not become ready in time, or died while it started."""

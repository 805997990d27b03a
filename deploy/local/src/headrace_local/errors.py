"""What can go wrong on one machine, each a sentence a person can act on."""


class LocalError(Exception):
    """The system cannot be started, or has ended by itself. The message says what to do."""


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

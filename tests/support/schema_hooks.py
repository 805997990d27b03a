"""What schemathesis has to be told of the gateway, beside its document. schemathesis.toml names this module."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """An event stream goes on for as long as its reader listens, unless it is told not to."""
    if case.operation.path.endswith("/events"):
        query = case.query if isinstance(case.query, dict) else {}
        if query.get("follow", "true") in ("true", None):
            case.query = {**query, "follow": "false"}

"""What schemathesis must know about the gateway besides its OpenAPI document. schemathesis.toml
names this module."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Ask event streams to end. Without that, a stream lasts as long as its reader listens."""
    if case.operation.path.endswith("/events"):
        query = case.query if isinstance(case.query, dict) else {}
        if query.get("follow", "true") in ("true", None):
            case.query = {**query, "follow": "false"}

"""The private parts of uvicorn that the gateway uses: its HTTP protocol, which it extends to limit
requests and to hand over event streams.

No other module imports from uvicorn.protocols. A test compares PARTS with the installed uvicorn and
with what the gateway uses. pyproject.toml admits only the versions that the gateway was tested
with. To admit a newer one, change the bound, run tests/architecture/test_private_parts.py and
tests/gateway, and read what uvicorn changed in these classes.
"""

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["PARTS", "FlowControl", "HttpToolsProtocol", "RequestResponseCycle"]

# For each class: its methods with their parameters after self, and its fields.
PARTS: dict[type, tuple[dict[str, str], frozenset[str]]] = {
    FlowControl: (
        {
            "__init__": "transport",
            "drain": "",
            "pause_reading": "",
            "pause_writing": "",
            "resume_reading": "",
            "resume_writing": "",
        },
        frozenset({"_is_writable_event", "_transport", "read_paused", "write_paused"}),
    ),
    HttpToolsProtocol: (
        {
            "__init__": "config server_state app_state _loop",
            "connection_lost": "exc",
            "connection_made": "transport",
            "_start_asgi_task": "cycle app",
            "_unset_keepalive_if_required": "",
            "data_received": "data",
            "on_body": "body",
            "on_header": "name value",
            "on_headers_complete": "",
            "on_message_begin": "",
            "on_message_complete": "",
            "on_response_complete": "",
        },
        frozenset(
            {
                "connections",
                "cycle",
                "expect_100_continue",
                "flow",
                "headers",
                "loop",
                "parser",
                "pipeline",
                "scope",
                "server_state",
                "transport",
                "url",
            }
        ),
    ),
    RequestResponseCycle: (
        {},
        frozenset(
            {
                "disconnected",
                "keep_alive",
                "message_event",
                "response_complete",
                "response_started",
                "scope",
                "transport",
            }
        ),
    ),
}

"""What this package uses of redis-py beyond what redis-py promises to keep: its connections, to send and to read on a
line without what a pool costs.

A test compares PARTS with the installed redis-py; pyproject.toml admits only the versions that it was tested with. To
raise them: change the bound, run tests/architecture/test_private_parts.py, tests/stream and the tests marked chaos, and
read what redis-py changed in these classes.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection

# Of each class: its methods with their parameters after self, and its fields. `connection` uses all but what is noted.
PARTS: dict[type, tuple[dict[str, str], frozenset[str]]] = {
    Connection: (
        {
            "connect": "",
            "connect_check_health": "check_health retry_socket_connect",
            "disconnect": "nowait error failure_count health_check_failed",
            "pack_commands": "commands",
            "read_response": "disable_decoding timeout disconnect_on_error push_request",
            # timeline.Doorbells
            "send_command": "args kwargs",
            "send_packed_command": "command check_health",
        },
        # _reader: timeline.Doorbells
        frozenset({"_reader", "_writer", "is_connected", "socket_timeout"}),
    ),
    BlockingConnectionPool: (
        {
            "get_connection": "command_name keys options",
            # timeline.Doorbells
            "make_connection": "",
            "release": "connection",
        },
        frozenset({"connection_class"}),
    ),
    Redis: (
        {"initialize": ""},
        frozenset({"auto_close_connection_pool", "connection", "connection_pool", "single_connection_client"}),
    ),
}

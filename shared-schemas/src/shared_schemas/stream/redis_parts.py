"""The private parts of redis-py that this package uses: parts of its connections, to send and read on one connection
without the cost of a pool.

A test compares PARTS with the installed redis-py. pyproject.toml admits only versions that were tested. To admit newer
ones: change the bound, run tests/architecture/test_private_parts.py, tests/stream and the tests marked chaos, and
read what redis-py changed in these classes.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection

# For each class, its methods with their parameters after self, and its fields. The comment above each names its users.
PARTS: dict[type, tuple[dict[str, str], frozenset[str]]] = {
    Connection: (
        {
            # pubsub
            "connect": "",
            # stale_master
            "connect_check_health": "check_health retry_socket_connect",
            # stale_master, pubsub
            "disconnect": "nowait error failure_count health_check_failed",
            # pipelining
            "pack_commands": "commands",
            # stale_master, pipelining
            "read_response": "disable_decoding timeout disconnect_on_error push_request",
            # pubsub
            "send_command": "args kwargs",
            # stale_master, pipelining
            "send_packed_command": "command check_health",
        },
        # _reader: pubsub; the others: stale_master, pubsub
        frozenset({"_reader", "_writer", "is_connected", "socket_timeout"}),
    ),
    BlockingConnectionPool: (
        {
            # pipelining
            "get_connection": "command_name keys options",
            # pubsub
            "make_connection": "",
            # pipelining
            "release": "connection",
        },
        # connection
        frozenset({"connection_class"}),
    ),
    Redis: (
        # pipelining
        {"initialize": ""},
        # connection; pipelining reads `connection` and `connection_pool`
        frozenset({"auto_close_connection_pool", "connection", "connection_pool", "single_connection_client"}),
    ),
}

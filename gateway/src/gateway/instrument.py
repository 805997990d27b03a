"""The events of the gateway. Its parts report them to an observer.

Observers count and log the events. A part knows no metric and no logger. `metrics` and `log_lines`
have an observer each. Traces would be a third class, and one more argument of `combined` in
`gateway.wiring`. What happens once in a process (its start, its end, what it finds out about Redis)
is logged where it happens.

An event is a method instead of a name with fields, because calls are cheap: every request has an
event, and it costs one call for each observer.
"""

from collections.abc import Sequence

from shared_schemas.ids import QueueName


class GatewayObserver:
    """All events. Here, each method ignores its event; an observer overrides the methods that it
    wants. A method must not wait or raise. route: the template of a path, None if no route has the
    path."""

    def process_ending(self) -> None:
        """Nothing more is reported."""

    def request_served(
        self, request_id: str, method: str, route: str | None, status: int, answered_s: float, took_s: float
    ) -> None:
        """status: 0 if no response began. answered_s: until the response began. took_s: until the
        application was done with the request. An event stream may still be open then."""

    def request_refused(self, code: str, status: int) -> None:
        """The connection refused a request before it was complete, so the application did not see it."""

    def request_failed(self, request_id: str, method: str) -> None:
        """An unexpected exception was raised. It is the one being handled."""

    def client_left(self, request_id: str, method: str) -> None:
        """The client disconnected while it sent the body."""

    def submissions_sent(self, count: int) -> None:
        """count: how many jobs one call to Redis carries."""

    def input_not_checked(self, model: str, error: Exception) -> None:
        """The manifest of the model cannot be read."""

    def model_unreadable(self, model: str) -> None: ...

    def switch_timed_out(self, model: str, alias: str, workers: Sequence[str]) -> None:
        """The alias moves although these workers have not loaded the model yet."""

    def stream_opened(self) -> None: ...

    def stream_closed(self, request_id: str, open_s: float) -> None: ...

    def stream_failed(self) -> None:
        """An unexpected exception was raised. It is the one being handled."""

    def stream_interrupted(self, error: Exception) -> None:
        """Redis is unavailable."""

    def slow_reader_dropped(self, send_timeout_s: float) -> None:
        """send_timeout_s: how long the reader took nothing."""

    def subscription_lost(self, causes: Sequence[str]) -> None:
        """Redis is unavailable. Called once, until notifications arrive again."""

    def housekeeping_interrupted(self, redis: str, error: Exception) -> None:
        """redis: its address. It is unavailable. Called once, until it answers."""

    def housekeeping_refused(self, queue: QueueName, error: Exception) -> None:
        """Redis refused a call for this queue."""

    def duty_failed(self, duty: str) -> None:
        """An unexpected exception was raised. It is the one being handled. The duty is started
        again."""

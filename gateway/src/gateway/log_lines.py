"""The lines that a gateway logs about events. Their names and fields are for whoever searches the
logs."""

from collections.abc import Sequence

import structlog
from shared_schemas.ids import QueueName
from shared_schemas.service.summed_lines import SummedLines

from gateway.instrument import GatewayObserver

_FIRST_ERROR = 400


class GatewayLog(GatewayObserver):
    """lines_per_s: of requests that succeed, and of streams that end; see SummedLines."""

    def __init__(self, *, lines_per_s: int) -> None:
        # A bound logger looks up its configuration once, and not for each line.
        self._log = structlog.get_logger().bind()
        self._served = SummedLines(lines_per_s, self._requests_served)
        self._closed = SummedLines(lines_per_s, self._streams_closed)

    def process_ending(self) -> None:
        self._served.sum_up()
        self._closed.sum_up()

    def request_served(
        self, request_id: str, method: str, route: str | None, status: int, answered_s: float, took_s: float
    ) -> None:
        if 0 < status < _FIRST_ERROR and not self._served.may_write(took_s):
            return
        self._log.info(
            "request_served",
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            took_ms=round(took_s * 1000, 2),
        )

    def _requests_served(self, count: int, median_s: float) -> None:
        self._log.info("requests_served", count=count, median_ms=round(median_s * 1000, 2))

    def _streams_closed(self, count: int, median_s: float) -> None:
        self._log.info("streams_closed", count=count, median_s=round(median_s, 3))

    def request_refused(self, code: str, status: int) -> None:
        self._log.info("request_refused", code=code, status=status)

    def request_failed(self, request_id: str, method: str) -> None:
        self._log.exception("request_failed", request_id=request_id, method=method)

    def client_left(self, request_id: str, method: str) -> None:
        self._log.info("client_left", request_id=request_id, method=method)

    def input_not_checked(self, model: str, error: Exception) -> None:
        self._log.warning("input_not_checked", model=model, error=str(error))

    def model_unreadable(self, model: str) -> None:
        self._log.warning("model_unreadable", model=model)

    def switch_timed_out(self, model: str, alias: str, workers: Sequence[str]) -> None:
        self._log.warning("switch_timed_out", model=model, alias=alias, workers=list(workers))

    def stream_closed(self, request_id: str, open_s: float) -> None:
        if self._closed.may_write(open_s):
            self._log.info("stream_closed", request_id=request_id, took_s=round(open_s, 3))

    def stream_failed(self) -> None:
        self._log.exception("stream_failed")

    def stream_interrupted(self, error: Exception) -> None:
        self._log.warning("stream_interrupted", error=str(error))

    def slow_reader_dropped(self, send_timeout_s: float) -> None:
        self._log.warning("slow_reader_dropped", send_timeout_s=send_timeout_s)

    def subscription_lost(self, causes: Sequence[str]) -> None:
        self._log.warning("subscription_lost", causes=causes)

    def housekeeping_interrupted(self, redis: str, error: Exception) -> None:
        self._log.warning("redis_away", redis=redis, cause=str(error))

    def housekeeping_refused(self, queue: QueueName, error: Exception) -> None:
        self._log.error("housekeeping_refused", queue=queue, error=str(error))

    def duty_failed(self, duty: str) -> None:
        self._log.exception("duty_failed", duty=duty)

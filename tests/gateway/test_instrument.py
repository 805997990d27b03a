"""Every event that the gateway reports to an observer is counted or logged."""

import pytest
from gateway.instrument import GatewayObserver
from gateway.log_lines import GatewayLog
from gateway.metrics import GatewayMetrics

EVENTS = {name for name in vars(GatewayObserver) if not name.startswith("_")}


def overridden_by(observer: type[GatewayObserver]) -> set[str]:
    return {name for name in vars(observer) if not name.startswith("_")}


@pytest.mark.parametrize("observer", [GatewayLog, GatewayMetrics])
def test_metrics_and_logs_observe_only_events_that_exist(observer: type[GatewayObserver]) -> None:
    assert overridden_by(observer)
    assert overridden_by(observer) <= EVENTS


def test_every_event_is_counted_or_logged() -> None:
    assert overridden_by(GatewayLog) | overridden_by(GatewayMetrics) == EVENTS

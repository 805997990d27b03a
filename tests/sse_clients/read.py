"""Follows one event stream with a client of PyPI, as its own page shows it, and tells what it hears, in lines of JSON.

python read.py httpx-sse|requests-sse URL
"""

import json
import sys

import httpx
import requests
from httpx_sse import SSEError, connect_sse
from requests_sse import EventSource


def report(**what: object) -> None:
    print(json.dumps(what), flush=True)


def by_httpx(url: str) -> None:
    with httpx.Client(timeout=None, trust_env=False) as client, connect_sse(client, "GET", url) as source:  # noqa: S113
        for event in source.iter_sse():
            if event.data:
                report(id=event.id, event=event.event)


def by_requests(url: str) -> None:
    def failed() -> None:
        report(error="the line ended")

    with EventSource(url, on_error=failed, timeout=60) as source:
        for event in source:
            report(id=event.last_event_id, event=event.type)


def main() -> None:
    client, url = sys.argv[1:]
    try:
        {"httpx-sse": by_httpx, "requests-sse": by_requests}[client](url)
    except (httpx.HTTPError, SSEError, requests.RequestException) as error:
        report(over="reported", error=f"{type(error).__name__}: {error}")
    else:
        report(over="silent")


main()

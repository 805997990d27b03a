"""A real browser: EventSource from a page of another origin, and the API's own page."""

import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright
from shared_schemas.events import Logged
from shared_schemas.ids import JobId

from tests.support.gateways import DEADLINE_S, TRAINING_BODY, Driver, progressed, running_gateway, succeeded
from tests.support.redis_server import RedisServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE = """<!doctype html><meta charset="utf-8"><title>Watch</title>
<progress max="1" value="0"></progress><output></output>
<script>
  window.numbers = []; window.opened = 0; window.ended = false
  const source = new EventSource(new URLSearchParams(location.search).get("events"))
  source.onopen = () => window.opened++
  const take = event => { window.numbers.push(Number(event.lastEventId)); return JSON.parse(event.data) }
  for (const name of ["state", "log", "gap"]) source.addEventListener(name, take)
  source.addEventListener("progress", event => document.querySelector("progress").value = take(event).fraction)
  source.addEventListener("done", event => {
    document.querySelector("output").textContent = take(event).state
    // Left open on purpose: the next attempt must get 204, which ends it.
  })
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) window.ended = true }
</script>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]


@asynccontextmanager
async def open_page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = await browser.new_page()
            page.set_default_timeout(DEADLINE_S * 1000)
            yield page
        finally:
            await browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The page's own origin."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "watch.html").write_text(PAGE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def test_a_page_of_another_origin_sees_every_event_once_though_the_gateway_is_restarted(
    shared_redis: RedisServer, drive: Driver, site: str, tmp_path: Path
) -> None:
    with running_gateway(shared_redis.url, tmp_path, cors_origins=site) as gateway:
        async with gateway.client() as http, open_page() as page:
            job_id = JobId((await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"])
            claim = await drive.begin(job_id)
            await drive.record(claim, *(progressed(i, 10) for i in range(1, 6)))

            await page.goto(f"{site}/watch.html?events={gateway.url}/jobs/{job_id}/events")
            await page.wait_for_function("window.numbers.length == 7")
            assert await page.eval_on_selector("progress", "bar => bar.value") == 0.5

            gateway.stop()
            await drive.record(claim, *(Logged(line="meanwhile") for _ in range(100)), first=5)
            gateway.start()
            await page.wait_for_function("window.numbers.length == 107")
            await drive.record(claim, progressed(10, 10), first=105)
            await drive.settle(claim, succeeded(), first=106)
            await page.wait_for_function("window.ended")

            assert await page.evaluate("window.numbers") == list(range(1, 110))
            assert await page.evaluate("window.opened") == 2
            assert await page.text_content("output") == "succeeded"
            assert await page.eval_on_selector("progress", "bar => bar.value") == 1


async def test_a_page_of_an_origin_that_was_not_named_sees_nothing(
    shared_redis: RedisServer, drive: Driver, site: str, tmp_path: Path
) -> None:
    with running_gateway(shared_redis.url, tmp_path, cors_origins="https://elsewhere.example") as gateway:
        async with gateway.client() as http, open_page() as page:
            job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]

            await page.goto(f"{site}/watch.html?events={gateway.url}/jobs/{job_id}/events")
            await page.wait_for_function("window.ended")

            assert await page.evaluate("window.numbers") == []


async def test_a_page_may_submit_with_the_headers_of_the_api_and_read_its_problems(
    shared_redis: RedisServer, redis_url: str, site: str, tmp_path: Path
) -> None:
    with running_gateway(shared_redis.url, tmp_path, cors_origins="*") as gateway:
        async with open_page() as page:
            await page.goto(f"{site}/watch.html?events=about:blank")
            call = """async ([url, body]) => {
              const headers = {"Content-Type": "application/json", "Idempotency-Key": "k", "X-Request-ID": "page-0001"}
              const reply = await fetch(url, {method: "POST", headers, body: JSON.stringify(body)})
              const named = name => reply.headers.get(name)
              return [reply.status, named("Location"), named("X-Request-ID"), await reply.json()]
            }"""

            status, location, request_id, body = await page.evaluate(
                call, [f"{gateway.url}/jobs/training", TRAINING_BODY]
            )
            refused = await page.evaluate(call, [f"{gateway.url}/jobs/training", {"seed": "x"}])

    assert (status, location, request_id) == (202, f"/jobs/{body['job_id']}", "page-0001")
    assert (refused[0], refused[3]["code"]) == (422, "invalid_body")


async def test_the_page_of_the_api_works_with_no_network_and_its_example_can_be_tried(
    shared_redis: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(shared_redis.url, tmp_path) as gateway:
        async with open_page() as page:
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            await page.goto(f"{gateway.url}/docs")
            operation = page.locator(".opblock", has_text="/jobs/training").first
            await operation.locator(".opblock-summary").click()
            await operation.get_by_role("button", name="Try it out").click()
            await operation.get_by_role("button", name="Execute").click()
            answer = operation.locator(".live-responses-table .response .response-col_status").first
            await answer.wait_for()

            assert (await answer.inner_text()).strip().startswith("202")
    assert [url for url in asked if not url.startswith((gateway.url, "data:", "blob:"))] == []

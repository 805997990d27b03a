"""What a notebook shows: tables, with all text escaped."""

import copy
import pickle
from html.parser import HTMLParser

import anyio.to_thread
import msgspec
from headrace import AsyncClient, Client
from headrace.answers import Rows
from headrace.endpoints import job as job_request
from headrace.endpoints import list_jobs
from shared_schemas.errors import AttemptFailed
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceSpec
from worker_runtime import Attempt

from tests.support.gateways import driver
from tests.support.workers import ScriptedHandler, bench, running_worker

EVIL = '<script>alert("x")</script>&amp;'


class Cells(HTMLParser):
    """texts: of all cells. tags: all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts, self.tags = list[str](), set[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(value: object) -> Cells:
    return Cells(value._repr_html_())  # type: ignore[attr-defined]


async def failing(attempt: Attempt) -> Success:
    raise AttemptFailed("no_good", EVIL)


def everything(client: Client, job_id: str) -> list[object]:
    return [
        client.list(), client.list().all(), client.list().all(2), next(client.list()), client.job(job_id),
        client.status(job_id), client.dead_letters(), client.dead_letters().all(), client.dead_letter(job_id),
        client.attempts(job_id), client.queues(), client.workers(),
    ]  # fmt: skip


async def test_jobs_and_lists_of_them_are_tables_and_nothing_in_them_is_markup(
    gateway_url: str, redis_url: str
) -> None:
    client = Client(gateway_url)
    async with bench(redis_url) as jobs, running_worker(redis_url, ScriptedHandler(failing)):
        ids = [await jobs.submit(InferenceSpec(model_id="m@1", input_data=EVIL)) for _ in range(3)]
        for job_id in ids:
            await jobs.done(job_id)
        found = await anyio.to_thread.run_sync(everything, client, ids[0])

    for value in found:
        cells = await anyio.to_thread.run_sync(shown, value)
        assert cells.tags <= {"table", "thead", "tbody", "tr", "th", "td"}, value
        assert cells.texts, value
    for value in found[:10]:
        assert any(EVIL in text for text in shown(value).texts), value
    unread = client.list()
    client.close()
    assert unread._repr_html_() == "<p>the client is closed</p>"
    assert [sum(text == job_id for text in shown(found[1]).texts) for job_id in ids] == [1, 1, 1]


async def test_models_are_tables(gateway_url: str, redis_url: str) -> None:
    async with driver(redis_url) as drive:
        for _ in range(2):
            await drive.publish("wine")
    async with AsyncClient(gateway_url) as client:
        versions, newest = await client.model("wine"), await client.models().all()
        lazy = client.models()

    assert [text for text in shown(versions).texts if "wine@" in text] == ["wine@2", "wine@1"]
    assert "wine@2" in shown(newest[0]).texts
    assert "await listing.all()" in lazy._repr_html_()


async def test_a_listing_that_was_shown_still_has_all_its_rows(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        ids = [await jobs.submit() for _ in range(25)]

    def look() -> tuple[str, list[str]]:
        with Client(gateway_url) as client:
            listing = client.list(page_size=10)
            return listing._repr_html_(), [row.id for row in listing]

    html, listed = await anyio.to_thread.run_sync(look)

    assert sum(job_id in html for job_id in ids) == 20
    assert html.endswith("<p>… and more</p>")
    assert listed == sorted(ids, reverse=True)


def test_nothing_is_shown_as_nothing_and_a_part_of_rows_is_rows() -> None:
    assert Rows()._repr_html_() == "<p>nothing</p>"
    assert isinstance(Rows([1, 2, 3])[1:], Rows)
    assert Rows(["<b>"])._repr_html_() == "<pre>[&#x27;&lt;b&gt;&#x27;]</pre>"


async def test_answers_are_copied_pickled_and_written_as_json_like_any_other(gateway_url: str, redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
    async with AsyncClient(gateway_url) as client:
        for value in (await client.send(job_request(job_id)), Rows((await client.send(list_jobs())).rows)):
            again = pickle.loads(pickle.dumps(value))  # noqa: S301
            assert again == copy.deepcopy(value) == value
            assert job_id.encode() in msgspec.json.encode(value)

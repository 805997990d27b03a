"""Batches through the clients and the command line."""

import json
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from headrace import AsyncClient, Client, InvalidJob, NotFound
from shared_schemas.batches import BatchState

from tests.client.test_commands import headrace
from tests.support.gateways import MODEL, driver

LINES = [{"custom_id": f"row-{n}", "body": {"model_id": MODEL, "input_data": n}} for n in range(3)]


async def test_both_clients_send_a_batch_and_read_what_came_of_it(gateway_url: str, redis_url: str) -> None:
    key = uuid4()
    async with driver(redis_url) as drive, AsyncClient(gateway_url) as client:
        await drive.publish()
        batch = await client.submit_batch([*LINES, {"custom_id": "bad", "body": {}}], idempotency_key=key)

        def again() -> None:
            content = b"".join(json.dumps(line).encode() + b"\n" for line in [*LINES, {"custom_id": "bad", "body": {}}])
            with Client(gateway_url) as blocking:
                # The same lines in other bytes are other lines.
                assert blocking.batch(batch.batch_id) == batch
                assert blocking.batches()[0] == batch
                assert blocking.submit_batch(content).batch_id != batch.batch_id
                [error] = blocking.batch_errors(batch.batch_id)
                assert (error.custom_id, error.error is not None and error.error.code) == ("bad", "missing_field")

        await anyio.to_thread.run_sync(again)
        [first, *_] = await client.list(kind="inference").all()
        await drive.finish(first.id)
        assert (batch.status, batch.n_lines, batch.n_invalid, batch.jobs["queued"]) == (BatchState.RUNNING, 4, 1, 3)
        cancelled = await client.cancel_batch(batch.batch_id)
        assert cancelled.cancelled_at is not None
        assert len(await client.batch_output(batch.batch_id)) == cancelled.jobs["succeeded"]
        with pytest.raises(NotFound, match="no such batch"):
            await client.batch("batch-inference-01arz3ndektsv4rrffq69g5fav")
        with pytest.raises(InvalidJob):
            await client.submit_batch("lines.jsonl")  # type: ignore[arg-type]


async def test_the_command_line_sends_a_file_and_prints_lines(gateway_url: str, redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES) + "{\n")
    async with driver(redis_url) as drive:
        await drive.publish()
        sent = await headrace("batch", "submit", str(file), "--json", "--key", "cli", url=gateway_url)
        batch = json.loads(sent.stdout)
        again = await headrace("batch", "submit", str(file), "--key", "cli", url=gateway_url)
        status = await headrace("batch", "status", batch["batch_id"], url=gateway_url)
        listed = await headrace("batch", "list", url=gateway_url)
        output = await headrace("batch", "output", batch["batch_id"], url=gateway_url)
        errors = await headrace("batch", "errors", batch["batch_id"], url=gateway_url)
        cancelled = await headrace("batch", "cancel", batch["batch_id"], url=gateway_url)
        missing = await headrace("batch", "submit", str(tmp_path / "no"), url=gateway_url)

    words = b"running: 4 lines (3 queued, 1 invalid)"
    assert batch["batch_id"].encode() in again.stdout
    assert words in again.stdout
    assert words in status.stdout
    assert words in listed.stdout
    assert output.stdout == b""
    assert [json.loads(line)["error"]["code"] for line in errors.stdout.splitlines()] == ["malformed_json"]
    assert b"cancelled: 4 lines (3 cancelled, 1 invalid)" in cancelled.stdout
    assert missing.returncode == 2

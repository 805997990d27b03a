"""`uvicorn gateway.app:app --reload`, as docs/operations.md has it: it waits for changes without looking, and
restarts the gateway though somebody follows a stream."""

from pathlib import Path

import httpx
from uvicorn.supervisors import ChangeReload

from tests.support.gateways import DEADLINE_S, Gateway


def test_the_kernel_says_what_changed_and_nothing_looks_at_files() -> None:
    assert ChangeReload.__name__ == "WatchFilesReload"


def test_a_change_restarts_a_gateway_whose_streams_are_open(redis_url: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    gateway = Gateway(redis_url, tmp_path / "gateway.log", is_bare=True)
    gateway.module = [*gateway.module, "--reload", "--reload-dir", str(source)]
    gateway.start()
    try:
        with httpx.Client(base_url=gateway.url, timeout=DEADLINE_S) as client:
            with client.stream("GET", "/events") as response:
                pieces = response.iter_bytes()
                next(pieces)
                (source / "changed.py").write_text("x = 1\n")
                assert b"event:" not in b"".join(pieces)
            assert client.get("/healthz").status_code == 200
    finally:
        gateway.stop()

    assert "WatchFiles detected changes" in (tmp_path / "gateway.log").read_text()

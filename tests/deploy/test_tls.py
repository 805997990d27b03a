"""Redis over TLS, as docs/operations.md says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from headrace_local.system import free_port
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import connect
from shared_schemas.stream.declaring import declared
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings

from tests.support.gateways import MODEL, driver, running_gateway
from tests.support.redis_server import running_redis
from tests.support.worker_process import worker_process

CERTIFICATE = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis -addext subjectAltName=IP:127.0.0.1"


class Secured:
    """A server that listens for TLS alone, with a certificate for 127.0.0.1."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port, self.certificate = port, certificate

    def url(self, *, host: str = "127.0.0.1", certificate: Path | None = None) -> str:
        return f"rediss://{host}:{self.port}/0?ssl_ca_certs={certificate or self.certificate}"


@pytest.fixture
def secured() -> Iterator[Secured]:
    with TemporaryDirectory(prefix="hr-") as name:
        folder, port = Path(name), free_port()
        key, certificate = made(folder)
        files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
        options = ("--tls-port", port, *files, "--tls-auth-clients", "no")
        try:
            with running_redis(folder, options=tuple(map(str, options))):
                yield Secured(port, certificate)
        except redis.RedisError:
            log = (folder / "redis.log").read_text()
            if "Bad directive" in log or "Failed finding TLS support" in log:
                pytest.skip("this redis-server was built without TLS")
            raise


def made(folder: Path) -> tuple[Path, Path]:
    """-> a key, and its certificate, signed by itself"""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [*CERTIFICATE.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


async def test_a_job_runs_over_tls_from_end_to_end(secured: Secured, tmp_path: Path) -> None:
    with running_gateway(secured.url(), tmp_path) as gateway, worker_process(secured.url(), "obey"):
        async with driver(secured.url()) as drive, gateway.client() as http:
            await drive.publish()
            body = {"model_id": MODEL, "input_data": "say"}
            done = (await http.post("/jobs/inference", json=body, headers={"Prefer": "wait=20"})).json()
            events = await http.get(f"/jobs/{done['job_id']}/events")

    assert (done["status"], done["result"]) == ("succeeded", 1)
    assert events.text.count("event: ") == done["last_event"]


async def test_a_server_that_another_name_was_given_is_not_spoken_to(secured: Secured, tmp_path: Path) -> None:
    _, other = made(tmp_path)
    for url in (secured.url(host="localhost"), secured.url(certificate=other)):
        client = connect(RedisSettings(redis_url=url), retries=0)
        with pytest.raises(BackendUnavailable):
            await declared(Nodes(client))
        await client.aclose()

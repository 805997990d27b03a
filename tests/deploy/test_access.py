"""The Redis of deploy/redis: each of its users can do its part's work and nothing else, with a password from a file."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import RedisSettings, connect, connect_for_thread
from shared_schemas.stream.ledger import Ledger
from shared_schemas.stream.scripts import load

from tests.support.gateways import MODEL, ROOT, driver, running_gateway
from tests.support.redis_server import executable
from tests.support.worker_process import worker_process

USERS = ROOT / "deploy/redis/users.acl"
FORBIDDEN = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "appendonly", "no"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
    ("SCRIPT", "FLUSH"),
    ("GET", "another:key"),
    ("SET", "another:key", "1"),
    ("PUBLISH", "another:channel", "1"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", "another:key"),
]


# What a part's scripts call. Both keep house; only workers take jobs from workers.
_QUEUE = {"promote_due", "sweep", "meet_dependencies", "request_cancel"}
SCRIPTS = {
    "gateway": {
        "prelude": _QUEUE | {"submit", "list", "attempts", "request_pause", "resume", "purge"},
        "registry_prelude": {"look_up", "publish", "set_alias"},
    },
    "worker": {
        "prelude": _QUEUE | {"claim", "record", "renew", "settle", "reclaim", "redeliver", "repair"},
        "registry_prelude": {"look_up", "publish", "stage"},
    },
}
_COMMAND = re.compile(r"""(?:call\(|= \{ )'([A-Z]+)'(?:, '([A-Z]+)')?""")
_WITH_VERBS = {"XGROUP", "XINFO", "PUBSUB"}


class Guarded:
    """It runs while the block of `started` does, on the same data and with the same passwords each time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, folder / "redis.sock"
        for user in ("gateway", "worker"):
            (folder / "secrets" / user).mkdir(parents=True)
        (folder / "run").mkdir()
        (folder / "redis-server").symlink_to(executable())
        shutil.copytree(ROOT / "deploy/redis", folder / "redis")
        # One more user, who may ask what was refused.
        with (folder / "redis/users.acl").open("a") as users:
            users.write("user overseer on >overseer ~* &* +@all\n")

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def password_file(self, user: str) -> Path:
        return self._folder / "secrets" / user / "password"

    def settings(self, user: str) -> dict[str, str]:
        return {"redis_user": user, "redis_password_file": str(self.password_file(user))}

    @contextmanager
    def started(self) -> "Iterator[redis.Redis[bytes]]":
        """By the script that starts it in its container. -> a line of the overseer's"""
        command = ["sh", self._folder / "redis/start.sh", "--port", "0", "--unixsocket", self._socket]
        with (self._folder / "redis.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={
                    "PATH": f"{self._folder}:/usr/bin:/bin",
                    "SECRETS": str(self._folder / "secrets"),
                    "STATE": str(self._folder),
                    "RUN": str(self._folder / "run"),
                },
                stdout=log,
                stderr=log,
            )
        retry = Retry(ConstantBackoff(0.02), 500)
        try:
            with redis.Redis(
                unix_socket_path=str(self._socket), username="overseer", password="overseer", protocol=2, retry=retry
            ) as overseer:
                overseer.ping()
                yield overseer
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with TemporaryDirectory(prefix="hr-") as folder:
        yield Guarded(Path(folder))


async def test_each_part_does_all_of_its_work_as_its_own_user(guarded: Guarded, tmp_path: Path) -> None:
    with (
        guarded.started() as overseer,
        running_gateway(guarded.url, tmp_path, **guarded.settings("gateway")) as gateway,
    ):
        async with driver(f"{guarded.url}?username=overseer&password=overseer") as drive:
            await drive.publish()
        with worker_process(guarded.url, "obey", slots=2, **guarded.settings("worker")):
            async with gateway.client() as http:
                done = await _submit(http, "say", wait=True)
                assert (done["status"], done["result"]) == ("succeeded", 1)
                events = await http.get(f"/jobs/{done['job_id']}/events")
                assert events.text.count("event: ") == done["last_event"]
                failed = await _submit(http, "refuse", wait=True)
                assert (await http.post(f"/jobs/{failed['job_id']}/retry")).status_code == 202
                hanging = await _submit(http, "hang")
                assert (await http.post(f"/jobs/{hanging['job_id']}/cancel")).status_code in (200, 202)
                later = await _submit(http, "say", run_at="2999-01-01T00:00:00Z")
                for verb in ("pause", "resume", "cancel"):
                    assert (await http.post(f"/jobs/{later['job_id']}/{verb}")).status_code == 200
                for path in ("/jobs", "/queues", "/workers", "/models", "/dead-letters", "/metrics", "/readyz"):
                    assert (await http.get(path)).status_code == 200, path
                assert (await http.put(f"/models/{MODEL}/aliases/best", json={"version": 1})).is_success
                assert (await http.post("/dead-letters/purge", json={"all": True})).is_success

        # What Redis 7.0 does not know it refuses as well.
        assert [entry for entry in overseer.acl_log() if not entry["object"].startswith("client")] == []


@pytest.mark.parametrize("user", SCRIPTS)
def test_a_part_may_call_whatever_its_scripts_call_and_little_else(user: str) -> None:
    [line] = [line for line in USERS.read_text().splitlines() if line.startswith(f"user {user} ")]
    allowed = {word[1:] for word in line.split() if word.startswith("+")}

    called = {
        f"{command}|{verb}".lower() if command in _WITH_VERBS else command.lower()
        for prelude, names in SCRIPTS[user].items()
        for name in names
        for command, verb in _COMMAND.findall(load(name, prelude).source.decode())
    }

    assert len(called) > 20
    assert called <= allowed
    # The rest is what the parts call without a script.
    assert len(allowed - called) < len(called)


@pytest.mark.parametrize("user", ["gateway", "worker"])
@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
def test_no_part_can_do_what_it_has_no_business_with(guarded: Guarded, user: str, command: tuple[str, ...]) -> None:
    with guarded.started():
        client = connect_for_thread(RedisSettings(redis_url=guarded.url, **guarded.settings(user)))

        with pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission|access|not allowed"):
            client.execute_command(*command)


def test_nobody_gets_in_without_a_password(guarded: Guarded) -> None:
    with guarded.started():
        for given in ({}, {"username": "gateway", "password": ""}, {"username": "gateway", "password": "guess"}):
            with redis.Redis.from_url(guarded.url, protocol=2, **given) as guesser, pytest.raises(AuthenticationError):
                guesser.ping()


def test_a_password_is_made_once_and_readable_by_its_owner_alone(guarded: Guarded) -> None:
    with guarded.started():
        made = {user: guarded.password_file(user).read_text() for user in ("gateway", "worker")}
    with guarded.started():
        kept = {user: guarded.password_file(user).read_text() for user in ("gateway", "worker")}

    assert made == kept
    assert len(set(made.values())) == 2
    assert all(len(password) == 64 for password in made.values())
    assert guarded.password_file("gateway").stat().st_mode & 0o077 == 0


async def test_a_changed_password_needs_no_restart_of_the_parts(guarded: Guarded) -> None:
    client = connect(RedisSettings(redis_url=guarded.url, **guarded.settings("gateway")))
    with guarded.started():
        before = await Ledger(client).queues()
    guarded.password_file("gateway").unlink()
    with pytest.raises(BackendUnavailable):
        await Ledger(client).queues()
    with guarded.started():
        after = await Ledger(client).queues()
    await client.aclose()

    assert before == after == []


async def _submit(http: httpx.AsyncClient, behaviour: str, *, wait: bool = False, **options: str) -> dict[str, object]:
    reply = await http.post(
        "/jobs/inference",
        json={"model_id": MODEL, "input_data": behaviour, **options},
        headers={"Prefer": "wait=20"} if wait else {},
    )
    assert reply.is_success, reply.text
    return dict(reply.json())

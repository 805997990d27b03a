"""The Redis of deploy/redis: each of its users can do its part's work and nothing else, with
a password from a file."""

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
from shared_schemas.stream.connection import connect, connect_for_thread
from shared_schemas.stream.declaring import declared
from shared_schemas.stream.linking import load
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings

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


# What the scripts of each part call. Both do housekeeping; only workers
# take jobs from other workers.
_QUEUE = {"promote_due", "sweep", "meet_dependencies", "request_cancel"}
SCRIPTS = {
    "gateway": _QUEUE
    | {
        "submit",
        "list",
        "attempts",
        "request_pause",
        "resume",
        "purge",
        "status",
        "position",
        "batch_store",
        "batch_status",
        "claim_keys",
        "release_keys",
    }
    | {"look_up", "publish", "set_alias", "begin_switch"},
    "worker": _QUEUE
    | {"claim", "record", "renew", "settle", "reclaim", "redeliver", "repair"}
    | {"look_up", "publish", "stage", "wanted", "cache_get", "cache_put"},
}
# What they call without a script, and what the scripts call under a name that is computed.
DIRECTLY = {
    "gateway": {"hgetall", "hscan", "sadd", "smembers", "zcard", "zcount", "zrangebylex", "zrank", "zrevrange"},
    "worker": {"hgetall", "smembers", "xgroup|delconsumer"},
}
FOR_ALL = {
    "client|setinfo",
    "eval",
    "evalsha",
    "exec",
    "info",
    "multi",
    "ping",
    "subscribe",
    "unsubscribe",
    "xack",
    "xdel",
}
_COMMAND = re.compile(r"""(?:call\(|ask\(|= \{ )'([A-Z]+)'(?:, '([A-Z]+)')?""")
_WITH_VERBS = {"XGROUP", "XINFO", "PUBSUB"}


class Guarded:
    """Runs during the block of `started`, always on the same data and with the same passwords."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, folder / "redis.sock"
        for user in ("gateway", "worker"):
            (folder / "secrets" / user).mkdir(parents=True)
        (folder / "run").mkdir()
        (folder / "redis-server").symlink_to(executable())
        shutil.copytree(ROOT / "deploy/redis", folder / "redis")

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def password_file(self, user: str) -> Path:
        return self._folder / "secrets" / user / "password"

    def settings(self, user: str) -> dict[str, str]:
        return {"redis_user": user, "redis_password_file": str(self.password_file(user))}

    @property
    def administrator(self) -> str:
        """-> a URL, once it has run"""
        return f"{self.url}?username=admin&password={(self._folder / 'admin/password').read_text()}"

    def start(self) -> subprocess.Popen[bytes]:
        """With the script that starts it in its container."""
        command = ["sh", self._folder / "redis/start.sh", "--port", "0", "--unixsocket", self._socket]
        with (self._folder / "redis.log").open("ab") as log:
            return subprocess.Popen(
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

    @contextmanager
    def started(self) -> "Iterator[redis.Redis[bytes]]":
        """-> a connection of the administrator, who may ask what was refused"""
        process = self.start()
        retry = Retry(ConstantBackoff(0.02), 500)
        try:
            # It makes the passwords before it listens.
            probe = {"username": "probe", "password": "probe"}
            with redis.Redis(unix_socket_path=str(self._socket), protocol=2, retry=retry, **probe) as prober:
                prober.ping()
            with redis.Redis.from_url(self.administrator, protocol=2) as administrator:
                yield administrator
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with TemporaryDirectory(prefix="hr-") as folder:
        yield Guarded(Path(folder))


async def test_each_part_does_all_of_its_work_as_its_own_user(guarded: Guarded, tmp_path: Path) -> None:
    with (
        guarded.started() as administrator,
        running_gateway(guarded.url, tmp_path, **guarded.settings("gateway")) as gateway,
    ):
        async with driver(guarded.administrator) as drive:
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

        # Redis 7.0 also refuses commands that it does not know.
        assert [entry for entry in administrator.acl_log() if not entry["object"].startswith("client")] == []


async def test_what_was_written_is_there_after_a_restart(guarded: Guarded, tmp_path: Path) -> None:
    """Redis reads its file as the default user, whom nobody can be: what this one may
    not do is left out of it."""
    with guarded.started():
        async with driver(guarded.administrator) as drive:
            await drive.publish()
        with running_gateway(guarded.url, tmp_path, **guarded.settings("gateway")) as gateway:
            async with gateway.client() as http:
                jobs = [await _submit(http, "say", tags=[f"n-{number}"]) for number in range(3)]
    with (
        guarded.started(),
        running_gateway(guarded.url, tmp_path, **guarded.settings("gateway")) as gateway,
    ):
        async with gateway.client() as http:
            listed = (await http.get("/jobs")).raise_for_status().json()["jobs"]
            models = (await http.get("/models")).raise_for_status().json()["models"]

    assert {job["id"] for job in listed if job["state"] == "queued"} == {job["job_id"] for job in jobs}
    assert [model["name"] for model in models] == [MODEL]


@pytest.mark.parametrize("user", SCRIPTS)
def test_a_part_may_call_what_it_calls_and_nothing_else(user: str) -> None:
    [line] = [line for line in USERS.read_text().splitlines() if line.startswith(f"user {user} ")]
    allowed = {word[1:] for word in line.split() if word.startswith("+")}

    called = {
        f"{command}|{verb}".lower() if command in _WITH_VERBS else command.lower()
        for name in SCRIPTS[user]
        for command, verb in _COMMAND.findall(load(name).source.decode())
    }

    assert len(called) > 20
    assert allowed == called | DIRECTLY[user] | FOR_ALL


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


@pytest.mark.parametrize("text", ["", "\n"])
def test_it_does_not_start_with_an_empty_password(guarded: Guarded, text: str) -> None:
    with guarded.started():
        pass
    password = guarded.password_file("gateway")
    password.write_text(text)

    if text:
        assert guarded.start().wait(20) == 1
    else:
        with guarded.started():
            assert len(password.read_text()) == 64


async def test_a_changed_password_needs_no_restart_of_the_parts(guarded: Guarded) -> None:
    client = connect(RedisSettings(redis_url=guarded.url, **guarded.settings("gateway")))
    with guarded.started():
        before = await declared(Nodes(client))
    guarded.password_file("gateway").unlink()
    with pytest.raises(BackendUnavailable):
        await declared(Nodes(client))
    with guarded.started():
        after = await declared(Nodes(client))
    await client.aclose()

    assert before == after == []


async def _submit(
    http: httpx.AsyncClient, behaviour: str, *, wait: bool = False, **options: object
) -> dict[str, object]:
    reply = await http.post(
        "/jobs/inference",
        json={"model_id": MODEL, "input_data": behaviour, **options},
        headers={"Prefer": "wait=20"} if wait else {},
    )
    assert reply.is_success, reply.text
    return dict(reply.json())

"""The whole system on one machine: its services, and the order in which they start and stop.

Knows nothing of the jobs.
"""

import errno
import fcntl
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from headrace import Client, ClientError, Settings
from shared_schemas.errors import MalformedId
from shared_schemas.kinds import JobKind
from shared_schemas.service.gpus import visible_gpus
from shared_schemas.service.settings import SettingsRejected, from_environ

from headrace_local import redis_server
from headrace_local.devices import Devices, assigned
from headrace_local.environment import for_kind, with_redis_url
from headrace_local.errors import DataDirInUse, DataDirUnusable, NotReady, PortTaken
from headrace_local.logs import Log
from headrace_local.programs import PROGRAMS
from headrace_local.services import Service, kill, stop

_READY_WITHIN_S = 90.0
_REDIS_STOP_S = 15.0
_GATEWAY_STOP_S = 15.0
# A process does not announce that it is ready, so it is polled.
_POLL_EVERY_S = 0.05
_PORTS = range(20_000, 32_000)


class SystemConfig(msgspec.Struct, frozen=True, kw_only=True):
    """data_dir: holds redis/, data/ (CSV files) and artifacts/. redis_url: a Redis to use instead
    of the embedded one. workers: number of worker processes for each kind of job, one by default.
    given_data_root, given_artifacts_root: folders to use instead of those in data_dir. environment:
    inherited by the services; its HEADRACE_* variables apply unless this struct sets them.
    drain_grace_s: how long workers may take to finish or release their jobs."""

    data_dir: Path
    environment: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: Mapping[JobKind, int] = msgspec.field(default_factory=lambda: dict.fromkeys(PROGRAMS, 1))
    redis_url: str | None = None
    given_data_root: Path | None = None
    given_artifacts_root: Path | None = None
    drain_grace_s: float = 30.0

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - includes the loopback address
        return f"http://{host}:{self.port}"

    @property
    def data_root(self) -> Path:
        return self.given_data_root or self.data_dir / "data"

    @property
    def artifacts_root(self) -> Path:
        return self.given_artifacts_root or self.data_dir / "artifacts"


class LocalSystem:
    """redis: describes the server for a person, without its address, which may hold a password."""

    def __init__(self, config: SystemConfig, *, redis_url: str, redis: str) -> None:
        self.config, self.redis_url, self.redis = config, redis_url, redis
        self.url = config.url
        self.services: list[Service] = []

    def pids(self) -> dict[str, int]:
        return {service.name: service.pid for service in self.services if service.pid is not None}


@contextmanager
def running_system(config: SystemConfig, log: Log) -> Iterator[LocalSystem]:
    """Start every service, yield the system when it is ready, and stop it: the workers first, then
    the gateway, then Redis.

    A KeyboardInterrupt during the stop kills the services that are left. LocalError if it cannot be
    started.
    """
    with ExitStack() as stack:
        stack.enter_context(_locked_data_dir(config))
        _check_port(config.host, config.port)
        if config.redis_url is None:
            redis_url, redis = stack.enter_context(_embedded_redis(config, log))
        else:
            redis_url, redis = config.redis_url, "Redis as given"
        system = LocalSystem(config, redis_url=redis_url, redis=redis)
        environment, devices = _environment(config, redis_url), _devices(config)
        for name, gpu in devices.gpus.items():
            log.note("headrace", f"{name} gets {gpu.device}, a {gpu.name}", style="dim")
        for warning in devices.warnings:
            log.note("headrace", warning, style="yellow")
        gateway = Service("gateway", _module("gateway"), environment=environment, log=log)
        workers = [
            Service(
                name,
                _module(PROGRAMS[kind].module),
                environment={
                    **for_kind(environment, kind),
                    **devices.environment.get(name, {}),
                    "HEADRACE_WORKER_NAME": name,
                },
                log=log,
            )
            for name, kind in _workers(config)
        ]
        system.services = [gateway, *workers]
        try:
            for service in system.services:
                service.start()
            _wait_for_services(system)
            yield system
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                log.note("headrace", "stopping …; Ctrl-C again kills")
            _stop_in_order(gateway, workers, config, log)
            raise
        _stop_in_order(gateway, workers, config, log)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens. It is below the ports that Linux gives to outgoing
    connections (ip_local_port_range), so no connection takes it before it is used."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # The host is wrong, and each lookup may take long.
                    raise PortTaken(f"cannot listen on {host} ({error.strerror}): choose another --host") from None
            else:
                return port
    raise PortTaken(f"no port is free on {host}: choose another --host or --port")


def check_settings(config: SystemConfig) -> None:
    """Refuse settings that a service would refuse, before any service starts. SettingsRejected."""
    from gateway.settings import GatewaySettings

    parts = {kind: program.load_settings() for kind, program in PROGRAMS.items()}
    environment = _environment(config, config.redis_url or f"unix://{config.data_dir}/redis.sock")
    from_environ(GatewaySettings, prefix="HEADRACE_", environ=environment)
    for kind in {kind for _, kind in _workers(config)}:
        try:
            from_environ(parts[kind], prefix="HEADRACE_", environ=for_kind(environment, kind))
        except MalformedId as error:
            raise SettingsRejected(f"HEADRACE_QUEUES: {error}") from None
    _devices(config)
    measured = [
        name for name, kind in _workers(config) if "HEADRACE_METRICS_PORT" in for_kind(config.environment, kind)
    ]
    if config.environment.get("HEADRACE_METRICS_PORT", "0") != "0" and len(measured) > 1:
        raise SettingsRejected("HEADRACE_METRICS_PORT: the workers of one machine cannot share a port")
    root = config.given_data_root
    if root is not None and not root.is_dir():
        raise SettingsRejected("HEADRACE_DATA_ROOT: there is no such folder")


def _workers(config: SystemConfig) -> list[tuple[str, JobKind]]:
    """-> (name, kind) of each worker"""
    return [(f"{kind}-{i}", kind) for kind, n in config.workers.items() for i in range(1, n + 1)]


def _devices(config: SystemConfig) -> Devices:
    """SettingsRejected."""
    return assigned(_workers(config), config.environment.get("HEADRACE_DEVICE", "auto"), visible_gpus())


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _environment(config: SystemConfig, redis_url: str) -> dict[str, str]:
    return {
        **with_redis_url(config.environment, redis_url, is_embedded=config.redis_url is None),
        "PYTHONUNBUFFERED": "1",
        "HEADRACE_DATA_ROOT": str(config.data_root),
        "HEADRACE_ARTIFACTS_ROOT": str(config.artifacts_root),
        "HEADRACE_HOST": config.host,
        "HEADRACE_PORT": str(config.port),
        "HEADRACE_DRAIN_GRACE_S": str(config.drain_grace_s),
        "HEADRACE_LOG_FORMAT": "json",
    }


@contextmanager
def _locked_data_dir(config: SystemConfig) -> Iterator[None]:
    """Make the folders, and lock the data dir: two servers on one
    append-only file would ruin it."""
    data_dir = config.data_dir
    folders = [data_dir, data_dir / "redis", config.artifacts_root]
    if config.given_data_root is None:
        folders.append(config.data_root)
    with ExitStack() as stack:
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            (data_dir / "redis").chmod(0o700)
            lock = stack.enter_context((data_dir / "lock").open("w"))
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
            raise DataDirUnusable(f"cannot keep data in {data_dir} ({why}): choose another --data-dir") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataDirInUse(f"{data_dir} is used by another headrace: choose another --data-dir") from None
        yield


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(f"cannot listen on {host} port {port} ({error.strerror}): choose another --port") from None


@contextmanager
def _embedded_redis(config: SystemConfig, log: Log) -> Iterator[tuple[str, str]]:
    folder = config.data_dir / "redis"
    binary = redis_server.find_binary(config.environment.get("PATH"), folder)
    unix_socket, made = redis_server.socket_path(folder)
    service = Service(
        "redis",
        redis_server.command(binary, folder=folder, unix_socket=unix_socket),
        environment=config.environment,
        log=log,
        dies_by=signal.SIGTERM,
    )
    try:
        service.start()
        _wait_until(lambda: redis_server.answers(unix_socket), [service], what=f"Redis (see {folder / 'redis.log'})")
        yield f"unix://{unix_socket}", f"{binary.name} {binary.version} {binary.origin}"
    finally:
        try:
            stop([service], grace_s=_REDIS_STOP_S, log=log)
        except KeyboardInterrupt:
            kill([service])
            raise
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _wait_for_services(system: LocalSystem) -> None:
    workers = system.services[1:]
    with Client(system.url, settings=Settings(timeout_s=5.0, retries=0)) as client:
        _wait_until(client.ready, system.services, what="the gateway")
        _wait_until(lambda: _registered(client) >= {worker.pid for worker in workers}, system.services, what="a worker")


def _registered(client: Client) -> set[int | None]:
    """Process ids of the workers on this machine: a Redis that was given may have workers of other
    machines as well."""
    try:
        return {worker.pid for worker in client.workers() if worker.host == socket.gethostname()}
    except ClientError:
        return set()


def _wait_until(ready: Callable[[], bool], services: list[Service], *, what: str) -> None:
    end = time.monotonic() + _READY_WITHIN_S
    while not ready():
        dead = [service.name for service in services if service.deaths >= 1]
        if dead:
            raise NotReady(f"{' and '.join(dead)} ended while starting; the lines above say why")
        if time.monotonic() > end:
            raise NotReady(f"{what} was not ready within {_READY_WITHIN_S:.0f} s")
        time.sleep(_POLL_EVERY_S)


def _stop_in_order(gateway: Service, workers: list[Service], config: SystemConfig, log: Log) -> None:
    try:
        # Longer than the worker's own grace, so only a worker that hangs is killed.
        stop(workers, grace_s=config.drain_grace_s + 10.0, log=log)
        stop([gateway], grace_s=_GATEWAY_STOP_S, log=log)
    except KeyboardInterrupt:
        log.note("headrace", "killing what is left", style="bold red")
        kill([*workers, gateway])
        raise

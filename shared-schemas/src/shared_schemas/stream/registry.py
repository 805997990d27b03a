"""The model registry: which versions exist. It holds manifests. The files are in the artifact store.

A model and the job that made it are in different slots, so no script can write both. Publishing
therefore takes two steps: an attempt stages its model, then settles its job. The job alone decides:
a staged version counts as published once its job has succeeded under the fence that staged it. The
next reader of the registry makes it visible. A crash between the steps loses nothing. A stale
attempt publishes nothing, and neither does a replay.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from shared_schemas.codec import decode_manifest, encode_json
from shared_schemas.errors import CallRefused, ClaimLost, MalformedId, ModelNotFound, ModelUnreadable, SwitchSuperseded
from shared_schemas.ids import JobId, is_job_id, parse_job_id
from shared_schemas.job import JobState
from shared_schemas.lifecycle import from_ms
from shared_schemas.models import Model, ModelManifest, ModelRef, parse_model_reference
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import is_of_another_type
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.packed_job import parts_as_text
from shared_schemas.stream.redis_errors import translate_errors


class ModelList(msgspec.Struct, frozen=True):
    """unreadable: `name` or `name@version` of the entries that were left out because they are damaged. after: pass it
    to get the next page; None at the end."""

    models: list[Model]
    unreadable: list[str]
    after: str | None = None


class WantedModel(NamedTuple):
    """A version that workers are asked to load. token: of the switch that waits for it."""

    token: str
    model: str


class ModelRegistry:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes, self._client = nodes, nodes.shared

    async def stage(self, *, name: str, job_id: JobId, fence: str, manifest: ModelManifest) -> ModelRef:
        """Reserve the job's version of `name` and keep its manifest. It is visible once the job has succeeded under
        `fence`. ClaimLost if a newer attempt has staged a model, or the job's model is published."""
        version = await scripts.call(
            self._client,
            "stage",
            keys.MODELS,
            {
                "job_id": job_id,
                "attempt": int(fence.split("-")[0]),
                "fence": fence,
                "name": name,
                "manifest": encode_json(manifest).decode(),
            },
        )
        if version < 0:
            raise ClaimLost("another attempt has published this job's model")
        return ModelRef(name, version)

    async def resolve(self, model_id: str) -> Model:
        """model_id: name, name@version, name@alias, or the id of a training job. ModelNotFound, MalformedId,
        ModelUnreadable."""
        await self.publish_settled()
        return await self._resolve(model_id)

    async def _resolve(self, model_id: str) -> Model:
        if is_job_id(model_id):
            with _registry_call():
                known = await self._client.get(keys.model_of_job(parse_job_id(model_id)))
            if known is None:
                raise ModelNotFound("that job has published no model")
            model_id = known.decode()
        name, version = parse_model_reference(model_id)
        if not isinstance(version, int):
            with _registry_call():
                found = await self._client.hget(keys.model(name), f"alias:{version or 'latest'}")
            if found is None:
                raise await self._absent(name, version or "latest")
            with _decoding():
                version = int(found)
        return await self._read(name, version)

    async def pin(self, model_ids: Sequence[str]) -> list[ModelRef | ModelNotFound | MalformedId]:
        """The version that each id names now, as in resolve, or the error. One round trip for all, unless a model waits
        to be made visible. ModelUnreadable if the entry of one is damaged."""
        found, is_settled = await self._look_up(model_ids)
        if not is_settled:
            await self.publish_settled()
            found, _ = await self._look_up(model_ids)
        for place, each in enumerate(found):
            asked = _lookup_argument(model_ids[place]) if isinstance(each, ModelNotFound) else None
            if isinstance(asked, tuple) and asked[0] != "job":
                found[place] = await self._absent(asked[1], asked[2])
        return found

    async def versions(self, name: str) -> ModelList:
        """All published versions, newest first. ModelNotFound if there is none, ModelUnreadable if none can be read."""
        await self.publish_settled()
        with _registry_call():
            numbers = await self._client.zrevrange(keys.published(name), 0, -1)
        if not numbers:
            raise ModelNotFound("no such model is published")
        found = await self._read_all([f"{name}@{number.decode()}" for number in numbers])
        if not found.models:
            raise ModelUnreadable("what the registry holds of this model is damaged")
        return found

    async def list_models(self, *, after: str = "", limit: int = 100) -> ModelList:
        """The latest version of each of `limit` names, in the order of names, beginning after the name `after`."""
        await self.publish_settled()
        with translate_errors():
            names = await self._client.zrangebylex(
                keys.MODEL_NAMES, f"({after}" if after else "-", "+", start=0, num=limit + 1
            )
        names = [name.decode(errors="replace") for name in names]
        found = await self._read_all(names[:limit])
        return msgspec.structs.replace(found, after=names[limit - 1] if len(names) > limit else None)

    async def set_alias(self, name: str, alias: str, version: int, *, token: str | None = None) -> Model:
        """token: of the switch that this ends. ModelNotFound; SwitchSuperseded if a later request has moved the
        alias, or is about to."""
        await self.publish_settled()
        arguments = {"name": name, "alias": alias, "version": version}
        if token is not None:
            arguments["token"] = token
        with _registry_call():
            done = await scripts.call(self._client, "set_alias", keys.MODELS, arguments)
        if done < 0:
            raise SwitchSuperseded("a later request has moved this alias, or is about to")
        if not done:
            raise ModelNotFound("no such version is published")
        return await self._read(name, version)

    async def delete_alias(self, name: str, alias: str) -> None:
        """The version that it names stays. ModelNotFound if the model has no such alias."""
        await self.publish_settled()
        with _registry_call():
            pipeline = self._client.pipeline(transaction=True)
            # Ends a switch that waits, which would set the alias again.
            pipeline.hdel(keys.model(name), f"switch:{alias}")
            pipeline.hdel(keys.model(name), f"alias:{alias}")
            _, n_deleted = await pipeline.execute()
        if not n_deleted:
            raise await self._absent(name, alias)

    async def begin_switch(self, ref: ModelRef, alias: str, *, token: str, keep_s: float) -> None:
        """Ask the workers that hold other versions of a model to load this one, for keep_s. token: to be passed to
        set_alias. ModelNotFound."""
        await self.publish_settled()
        arguments = {
            "name": ref.name,
            "alias": alias,
            "version": ref.version,
            "token": token,
            "keep_ms": round(keep_s * 1000),
        }
        with _registry_call():
            done = await scripts.call(self._client, "begin_switch", keys.MODELS, arguments)
        if not done:
            raise ModelNotFound("no such version is published")

    async def wanted(self) -> list[WantedModel]:
        """The versions that workers are asked to load now."""
        with _registry_call():
            rows = await scripts.call(self._client, "wanted", keys.MODELS, {})
        return [WantedModel(*row.decode(errors="replace").partition(" ")[::2]) for row in rows]

    async def is_published(self, ref: ModelRef) -> bool:
        with _registry_call():
            return await self._client.zscore(keys.published(ref.name), str(ref.version)) is not None

    async def delete_version(self, ref: ModelRef) -> str | None:
        """Forget a published version. -> the alias that keeps it, or None if it is no longer published."""
        with _registry_call():
            answer = await scripts.call(
                self._client, "delete_version", keys.MODELS, {"name": ref.name, "version": ref.version}
            )
        return answer[1].decode() if answer[0] == b"aliased" else None

    async def publish_settled(self) -> None:
        """Make the models visible whose jobs have succeeded. Every reader does this first. So does the gateway from
        time to time, because a job that has expired can no longer show that it succeeded."""
        with translate_errors():
            staging = await self._client.smembers(keys.STAGING)
        succeeded, failed = [], []
        for member in staging:
            try:
                job_id = parse_job_id(member.decode(errors="replace"))
                with _registry_call():
                    state, settled, is_replay = await self._job(job_id)
                    fence = await self._client.hget(keys.staged(job_id), "fence")
            except (MalformedId, ModelUnreadable):
                # Nobody can know whether a job that cannot be read has succeeded. It must not block the others.
                continue
            if state is JobState.SUCCEEDED and settled == (fence or b"").decode() and not is_replay:
                succeeded.append(job_id)
            elif state is None or state.is_terminal:
                failed.append(job_id)
        if succeeded or failed:
            try:
                await self._publish(succeeded, failed)
            except ModelUnreadable:
                for job_id in (*succeeded, *failed):
                    with suppress(ModelUnreadable):
                        await self._publish(
                            [job_id] if job_id in succeeded else [], [job_id] if job_id in failed else []
                        )

    async def _read_all(self, references: Sequence[str]) -> ModelList:
        found = ModelList([], [])
        for reference in references:
            try:
                found.models.append(await self._resolve(reference))
            except (MalformedId, ModelNotFound, ModelUnreadable):
                found.unreadable.append(reference)
        return found

    async def _publish(self, succeeded: list[JobId], failed: list[JobId]) -> None:
        with _registry_call():
            await scripts.call(self._client, "publish", keys.MODELS, {"succeeded": succeeded, "failed": failed})

    async def _read(self, name: str, version: int) -> Model:
        """ModelNotFound, ModelUnreadable."""
        with _registry_call():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hmget(keys.model_version(f"{name}@{version}"), "manifest", "job", "published")
            pipeline.hgetall(keys.model(name))
            (manifest, job_id, published), facts = await pipeline.execute()
        if published is None:
            raise await self._absent(name, version)
        aliases = sorted(
            field.decode(errors="replace").removeprefix("alias:")
            for field, value in facts.items()
            if field.startswith(b"alias:") and value == b"%d" % version
        )
        with _decoding():
            return Model(
                name=name,
                version=version,
                job_id=job_id.decode(),
                created_at=from_ms(int(published)),
                aliases=tuple(aliases),
                manifest=decode_manifest(manifest),
            )

    async def _absent(self, name: str, which: str | int) -> ModelNotFound:
        """Whether it is the model that does not exist, or only the version or the alias."""
        with _registry_call():
            n_versions = await self._client.zcard(keys.published(name))
        if not n_versions:
            return ModelNotFound("no such model is published")
        return ModelNotFound(f"this model has no such {'version' if isinstance(which, int) else 'alias'}")

    async def _look_up(self, model_ids: Sequence[str]) -> tuple[list[ModelRef | ModelNotFound | MalformedId], bool]:
        """-> (as pin, whether no model waits to become visible)"""
        asked = [_lookup_argument(model_id) for model_id in model_ids]
        whole = [each for each in asked if not isinstance(each, MalformedId)]
        with _registry_call():
            staging, replies = await scripts.call(self._client, "look_up", keys.MODELS, {"asked": whole})
        answers = iter(replies)
        return [each if isinstance(each, MalformedId) else _ref_of(each, next(answers)) for each in asked], not staging

    async def _job(self, job_id: JobId) -> tuple[JobState | None, str | None, bool]:
        """-> (state, None if the job is gone; fence of the attempt that ended last; whether it is a replay)"""
        parts = parts_as_text(await self._nodes.of_job(job_id).hget(keys.job(job_id), "job"))
        if not parts:
            return None, None, False
        with _decoding():
            return JobState(parts["state"]), parts.get("settled"), "replay_of" in parts


@contextmanager
def _decoding() -> Iterator[None]:
    """Raise ModelUnreadable for what decoding a damaged entry raises."""
    try:
        yield
    # A missing part is None, and a time may be out of range.
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ModelUnreadable("what the registry holds of this version is damaged") from error


@contextmanager
def _registry_call() -> Iterator[None]:
    """As translate_errors. Raises ModelUnreadable for a key that does not hold an entry of the registry."""
    try:
        with translate_errors():
            yield
    except CallRefused as error:
        if not is_of_another_type(error.__cause__):
            raise
        raise ModelUnreadable("what the registry holds of this model is damaged") from error


def _lookup_argument(model_id: str) -> tuple[str, str, str | int] | MalformedId:
    """An item of the argument `asked` of look_up.lua."""
    try:
        if is_job_id(model_id):
            return "job", parse_job_id(model_id), ""
        name, version = parse_model_reference(model_id)
    except MalformedId as error:
        return error
    return ("version", name, version) if isinstance(version, int) else ("alias", name, version or "latest")


def _ref_of(asked: tuple[str, str, str | int], reply: bytes | None) -> ModelRef | ModelNotFound:
    if reply is None:
        return ModelNotFound("no such model is published" if asked[0] != "job" else "that job has published no model")
    kind, name, which = asked
    with _decoding():
        if kind == "job":
            name, _, number = reply.decode().rpartition("@")
            return ModelRef(name, int(number))
        return ModelRef(name, int(which if kind == "version" else reply))

"""The model registry: which versions exist. It holds manifests; the files are in the artifact store.

    {hr:models}:names              zset    published names, score 0
    {hr:models}:model:<name>       hash    versions (last number given), alias:<alias> -> version
    {hr:models}:version:<name>@<n> hash    manifest, job, published (ms)
    {hr:models}:published:<name>   zset    published version numbers
    {hr:models}:staged:<job id>    hash    name, version, attempt, fence
    {hr:models}:staging            set     job ids with a staged version
    {hr:models}:job:<job id>       string  name@version

A model and the job that made it lie in different slots, so no script can write both. Publishing is therefore
two steps with one point of truth: an attempt stages its model, then settles its job. A staged version counts
as published from the moment its job has succeeded under the fence that staged it; whoever reads the registry
next makes that visible. A crash between the steps loses nothing, and a stale attempt publishes nothing.
"""

from shared_schemas.codec import decode_manifest, encode_json
from shared_schemas.errors import ClaimLost, ModelNotFound
from shared_schemas.ids import JobId, is_job_id, parse_job_id
from shared_schemas.job import JobState
from shared_schemas.lifecycle import moment
from shared_schemas.models import Model, ModelManifest, ModelRef, parse_model_reference
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis, translated

_TAG = keys.MODELS


class ModelRegistry:
    def __init__(self, client: AsyncRedis) -> None:
        self._client = client

    async def stage(self, *, name: str, job_id: JobId, fence: str, manifest: ModelManifest) -> ModelRef:
        """Reserve the job's version of `name` and keep its manifest; visible once the job has succeeded under
        `fence`. ClaimLost if a newer attempt has staged or the job's model is published."""
        version = await scripts.call(
            self._client,
            "stage",
            _TAG,
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
        """model_id: name, name@version, name@alias, or the id of a training job. ModelNotFound, MalformedId."""
        await self.publish_settled()
        if is_job_id(model_id):
            with translated():
                known = await self._client.get(f"{_TAG}job:{parse_job_id(model_id)}")
            if known is None:
                raise ModelNotFound("that job has published no model")
            model_id = known.decode()
        name, version = parse_model_reference(model_id)
        if not isinstance(version, int):
            with translated():
                found = await self._client.hget(f"{_TAG}model:{name}", f"alias:{version or 'latest'}")
            if found is None:
                raise ModelNotFound("no such model is published")
            version = int(found)
        return await self._read(name, version)

    async def versions(self, name: str) -> list[Model]:
        """All published versions, newest first. ModelNotFound if there is none."""
        await self.publish_settled()
        with translated():
            numbers = await self._client.zrevrange(f"{_TAG}published:{name}", 0, -1)
        if not numbers:
            raise ModelNotFound("no such model is published")
        return [await self._read(name, int(number)) for number in numbers]

    async def list_models(self, *, after: str = "", limit: int = 100) -> list[Model]:
        """The latest version of each name, by name, from the name after `after`."""
        await self.publish_settled()
        with translated():
            names = await self._client.zrangebylex(
                f"{_TAG}names", f"({after}" if after else "-", "+", start=0, num=limit
            )
        return [await self.resolve(name.decode()) for name in names]

    async def set_alias(self, name: str, alias: str, version: int) -> Model:
        await self.publish_settled()
        done = await scripts.call(self._client, "set_alias", _TAG, {"name": name, "alias": alias, "version": version})
        if not done:
            raise ModelNotFound("no such version is published")
        return await self._read(name, version)

    async def publish_settled(self) -> None:
        """Make visible what jobs have published that ended since; every reader does it first. Whoever keeps house
        does it as well, since a job that has expired can no longer say that it succeeded."""
        with translated():
            staging = [JobId(job_id.decode()) for job_id in await self._client.smembers(f"{_TAG}staging")]
        succeeded, failed = [], []
        for job_id in staging:
            with translated():
                state, settled, gone = await self._job(job_id)
                fence = await self._client.hget(f"{_TAG}staged:{job_id}", "fence")
            if state is JobState.SUCCEEDED and settled == fence:
                succeeded.append(job_id)
            elif gone or (state is not None and state.is_terminal):
                failed.append(job_id)
        if succeeded or failed:
            await scripts.call(self._client, "publish", _TAG, {"succeeded": succeeded, "failed": failed})

    async def _read(self, name: str, version: int) -> Model:
        with translated():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hmget(f"{_TAG}version:{name}@{version}", "manifest", "job", "published")
            pipeline.hgetall(f"{_TAG}model:{name}")
            (manifest, job_id, published), facts = await pipeline.execute()
        if published is None:
            raise ModelNotFound("no such model is published")
        aliases = sorted(
            field.decode().removeprefix("alias:")
            for field, value in facts.items()
            if field.startswith(b"alias:") and int(value) == version
        )
        return Model(
            name=name,
            version=version,
            job_id=job_id.decode(),
            created_at=moment(int(published)),
            aliases=tuple(aliases),
            manifest=decode_manifest(manifest),
        )

    async def _job(self, job_id: JobId) -> tuple[JobState | None, bytes | None, bool]:
        state, settled = await self._client.hmget(keys.job(job_id), "state", "settled")
        if state is None:
            return None, None, True
        return JobState(state.decode()), settled, False

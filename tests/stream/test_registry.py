"""Which version of a model each reference pins, and that a replay publishes none."""

import pytest
from shared_schemas.errors import HeadraceError, ModelNotFound
from shared_schemas.models import ModelRef
from shared_schemas.stream.registry import ModelRegistry

from tests.support.gateways import driver


@pytest.mark.parametrize("is_settled_unseen", [False, True], ids=["published", "settled and not yet published"])
async def test_a_pin_is_what_resolve_says_for_every_way_to_name_a_model(
    redis_url: str, is_settled_unseen: bool
) -> None:
    async with driver(redis_url) as side:
        registry = ModelRegistry(side.nodes)
        first, second = await side.publish(name="m"), await side.publish(name="m")
        if not is_settled_unseen:
            await registry.publish_settled()
        names = [
            "m", "m@1", "m@2", "m@latest", str(first), str(second),
            "m@3", "m@prod", "unknown", "unknown@1", "no name", "m@", str(first)[:-1] + "0",
        ]  # fmt: skip
        pinned = await registry.pin(names)
        resolved: list[object] = []
        for name in names:
            try:
                resolved.append((await registry.resolve(name)).ref)
            except HeadraceError as error:
                resolved.append(type(error))

    assert [each if isinstance(each, ModelRef) else type(each) for each in pinned] == resolved
    assert resolved[:6] == [ModelRef("m", version) for version in (2, 1, 2, 2, 1, 2)]


async def test_what_the_worker_of_a_replay_staged_is_never_published(redis_url: str) -> None:
    """As a worker of an older version does."""
    async with driver(redis_url) as side:
        original = await side.publish(name="m")
        replay = await side.publish(name="m", replay_of=original)
        [latest, second, by_job] = await side.registry.pin(["m", "m@2", str(replay)])
        versions = (await side.registry.versions("m")).models

    assert latest == ModelRef("m", 1)
    assert isinstance(second, ModelNotFound)
    assert isinstance(by_job, ModelNotFound)
    assert [(version.ref, version.aliases) for version in versions] == [(ModelRef("m", 1), ("latest",))]

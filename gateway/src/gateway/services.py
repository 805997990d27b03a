"""What the routes work with: made once for the process, found again from a request."""

from collections.abc import Sequence

import msgspec
from shared_schemas.ids import QueueName
from shared_schemas.models import ModelRef
from shared_schemas.stream.change_log import ChangeLog
from shared_schemas.stream.connection import AsyncRedis, connect, connect_one
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.submission import Stored, Submission, Submitter
from shared_schemas.stream.timeline import Timeline
from shared_schemas.stream.workers import Workers

from gateway import metrics
from gateway.feed.hub import Hub
from gateway.intake.coalescing import Coalescer
from gateway.intake.recipes import Recipes
from gateway.intake.signatures import Signatures
from gateway.settings import GatewaySettings


class Services(msgspec.Struct, kw_only=True):
    """dedicated_connections: one for submissions and one for pins. catalog: of the queues that there
    are. submissions, pins: join calls that arrive together."""

    settings: GatewaySettings
    client: AsyncRedis
    nodes: Nodes
    dedicated_connections: Sequence[AsyncRedis]
    submitter: Submitter
    jobs: Jobs
    control: JobControl
    workers: Workers
    catalog: Queues
    queue_queries: QueueQueries
    dead_letters: DeadLetters
    timeline: Timeline
    change_log: ChangeLog
    registry: ModelRegistry
    removal: Removal
    submissions: Coalescer[Submission, Stored]
    pins: Coalescer[str, ModelRef]
    signatures: Signatures
    recipes: Recipes
    hub: Hub

    @classmethod
    def open(cls, settings: GatewaySettings) -> "Services":
        """Nothing is connected yet: the first command does."""
        client, dedicated = connect(settings), (connect_one(settings), connect_one(settings))
        nodes = Nodes(client)
        catalog = Queues(nodes, always=map(QueueName, settings.queues), known_s=settings.queue_known_s)
        queue_queries = QueueQueries(nodes, catalog)
        return cls(
            settings=settings,
            client=client,
            nodes=nodes,
            dedicated_connections=dedicated,
            submitter=Submitter(nodes),
            jobs=Jobs(nodes),
            control=JobControl(nodes),
            workers=Workers(nodes),
            catalog=catalog,
            queue_queries=queue_queries,
            dead_letters=DeadLetters(nodes),
            timeline=Timeline(nodes),
            change_log=ChangeLog(nodes),
            registry=ModelRegistry(nodes),
            removal=Removal(nodes),
            submissions=Coalescer(Submitter(Nodes(dedicated[0])).submit_many, count=metrics.SUBMIT_SIZE.observe),
            pins=Coalescer(ModelRegistry(Nodes(dedicated[1])).pin),
            signatures=Signatures(ModelRegistry(nodes).resolve),
            recipes=Recipes(queue_queries),
            hub=Hub(lambda: PubSubConnection(client), n_readings=settings.redis_connections // 2),
        )

    async def close(self) -> None:
        for client in (self.client, *self.dedicated_connections):
            await client.aclose()

    async def queues(self) -> list[QueueName]:
        """All that there are."""
        return await self.catalog.names()

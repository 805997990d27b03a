"""What people would write instead of a gateway: one XADD for a request, one XREAD for a reader.

http_peers.py starlette PORT URL | pydantic PORT URL
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Annotated

import redis.asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

STREAM = "peer:jobs"
MAX_CONNECTIONS = 10_000


def starlette_app(client: "redis.asyncio.Redis[bytes]") -> Starlette:
    async def submit(request: Request) -> JSONResponse:
        entry = await client.xadd(STREAM, {"body": await request.body()})
        return JSONResponse({"job_id": entry.decode()}, 202)

    async def events(request: Request) -> StreamingResponse:
        stream = f"peer:events:{request.path_params['job_id']}"

        async def frames() -> AsyncIterator[bytes]:
            last = "$"
            yield b"retry: 2000\n\n"
            while True:
                for _, entries in await client.xread({stream: last}, block=30_000) or ():
                    for last, fields in entries:
                        yield b"id: %b\nevent: output\ndata: %b\n\n" % (last, fields[b"data"])

        return StreamingResponse(frames(), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/healthz", lambda _: JSONResponse({})),
            Route("/jobs/inference", submit, methods=["POST"]),
            Route("/jobs/{job_id}/events", events, methods=["GET"]),
        ]
    )


class Parameters(BaseModel):
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 64


class Job(BaseModel):
    model_id: Annotated[str, Field(min_length=1, max_length=128)]
    input_data: object
    parameters: Parameters = Parameters()
    tags: list[str] = []


class Accepted(BaseModel):
    job_id: str
    status: str


def pydantic_app(client: "redis.asyncio.Redis[bytes]") -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {}

    @app.post("/jobs/inference", status_code=202)
    async def submit(job: Job) -> Accepted:
        entry = await client.xadd(STREAM, {"body": json.dumps(job.model_dump())})
        return Accepted(job_id=entry.decode(), status="queued")

    return app


async def main() -> None:
    name, port, url = sys.argv[1:]
    # A read may block for longer than the default timeout of the client library.
    client = redis.asyncio.Redis.from_url(url, protocol=2, max_connections=MAX_CONNECTIONS, socket_timeout=None)
    app = {"starlette": starlette_app, "pydantic": pydantic_app}[name](client)
    await uvicorn.Server(uvicorn.Config(app, port=int(port), access_log=False, log_level="warning")).serve()


if __name__ == "__main__":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

# The gateway: REST in, events out. Neither torch nor ONNX Runtime nor numpy.
# Build from the repository's root: docker build -f deploy/docker/gateway.Dockerfile .
# Exact versions, so that the same commit builds the same image. docs/operations.md says how to raise them.
ARG PYTHON=3.12.12
ARG UV=0.13.9
FROM ghcr.io/astral-sh/uv:${UV} AS uv

FROM docker.io/library/python:${PYTHON}-slim AS manifests
COPY . /src
# Without their times, of which the cache would take notice.
RUN find /src -type f -not -name pyproject.toml -not -name uv.lock -delete && find /src -exec touch -d @0 {} +

# What others made: a layer that a change of the part's own code leaves as it is.
FROM docker.io/library/python:${PYTHON}-slim AS dependencies
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/app
WORKDIR /src
COPY --from=manifests /src .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-install-workspace --package headrace-gateway

FROM dependencies AS own
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv touch /before \
  && uv sync --frozen --no-dev --no-editable --package headrace-gateway \
  && mkdir /own && find /app -type f -cnewer /before -print0 | tar -c --null -T - | tar -x -C /own

FROM docker.io/library/python:${PYTHON}-slim
# What is mounted takes the owner of the folder it is mounted on.
RUN useradd --uid 10001 --user-group --no-create-home headrace \
  && mkdir /artifacts /secrets && chown 10001:10001 /artifacts /secrets
COPY --from=dependencies /app /app
COPY --from=own /own /
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 HEADRACE_HOST=0.0.0.0 HEADRACE_PORT=8000 \
    HEADRACE_ARTIFACTS_ROOT=/artifacts
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["gateway"]

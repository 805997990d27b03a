"""The OpenAPI document, and the page that shows it. Knows no job.

The page loads all its files from the gateway, by addresses relative to its own. So it works behind
a proxy that serves the gateway under a path, and no setting names that path.
"""

from importlib.resources import files
from typing import cast

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from gateway.routes.route import PlainCall

STATIC = "/static-offline-docs"
_files = StaticFiles(directory=str(files("fastapi_offline") / "static"))


async def read_document(call: PlainCall) -> Response:
    """The OpenAPI document."""
    return JSONResponse(cast(FastAPI, call.request.app).openapi())


async def read_docs(call: PlainCall) -> Response:
    """The page that shows the OpenAPI document."""
    root = ".." if call.request.scope.get("raw_path", b"").endswith(b"/") else "."
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Headrace",
        swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{root}{STATIC}/favicon.png",
    )


async def read_static(call: PlainCall) -> Response:
    """A file of the page."""
    return await _files.get_response(call.path["name"], call.request.scope)

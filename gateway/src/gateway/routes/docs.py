"""The page that shows the OpenAPI document.

What it needs comes from the gateway, by addresses relative to its own: so it works behind a proxy that serves the
gateway under a path, without being told which.
"""

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html

STATIC = "/static-offline-docs"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def read_docs(request: Request) -> Response:
    """The page."""
    root = ".." if request.scope.get("raw_path", b"").endswith(b"/") else "."
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Headrace",
        swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{root}{STATIC}/favicon.png",
    )

"""Style sheet, scripts and icon of the console, as they lie in ``static``: read once, named by their content.

What may not enter: anything that was not written for the console.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.conditional import has_tag
from api.problems import Refused

PREFIX = "/console/static/"
_STATIC = Path(__file__).resolve().parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def _asset(name: str) -> tuple[bytes, str]:
    """Content and digest of an asset; raises KeyError for what is none."""
    known = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}
    body = known[name].read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:16]


@cache
def address(name: str) -> str:
    """Address of an asset, which changes with its content."""
    return f"{PREFIX}{name}?v={_asset(name)[1]}"


def asset_routes() -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get(PREFIX + "{name:str}")
    async def asset(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
        """One asset."""
        try:
            body, digest = _asset(name)
        except KeyError:
            raise Refused("not-found", f"There is no {name}.") from None
        headers = {"etag": f'"{digest}"', "content-security-policy": "default-src 'none'"}
        if has_tag(visit_of(request.scope).headers.get(b"if-none-match"), f'"{digest}"'):
            return Response(b"", status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=_TYPES[Path(name).suffix])

    return [asset]

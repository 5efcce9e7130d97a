"""Entity tags of what is read: 304 to whoever has it already (RFC 9110 section 13).

What may not enter: what the bytes say.
"""

import hashlib
from typing import Any

from litestar import Request, Response

from api.answers import visit_of


def has_tag(if_none_match: bytes | None, tag: str) -> bool:
    """Does ``If-None-Match`` name ``tag``? Weak comparison, as RFC 9110 section 13.1.2 asks."""
    if if_none_match is None:
        return False
    named = [part.strip().removeprefix("W/") for part in if_none_match.decode("latin-1").split(",")]
    return "*" in named or tag in named


def conditional(body: bytes, media_type: str, request: Request[Any, Any, Any]) -> Response[bytes]:
    """``body``, or 304 to whoever has it already; its entity tag is made of its bytes."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if has_tag(visit_of(request.scope).headers.get(b"if-none-match"), tag):
        return Response(b"", status_code=304, headers={"etag": tag})
    return Response(body, media_type=media_type, headers={"etag": tag})

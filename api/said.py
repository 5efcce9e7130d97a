"""What somebody says in a JSON body, typed: read with patience, refused in one way wherever it does not fit."""

from typing import Any, TypeVar

import msgspec
from litestar import Request

from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.door import Visit
from api.problems import Refused
from engine.errors import EventInvalid

Body = TypeVar("Body")


async def said(
    request: Request[Any, Any, Any], patience: Patience, kind: type[Body], *roles: str
) -> tuple[Visit, Body]:
    """Who asks, and the body as ``kind``.

    Raises Refused without one of ``roles`` or with a body of another media type, EventInvalid for what does not fit.
    """
    visit = visit_of(request.scope)
    require(visit, *roles)
    body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
    if mode_of(visit.headers) is not Mode.STRUCTURED:
        raise Refused("unsupported-media-type", "The body is application/json.")
    try:
        return visit, msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None

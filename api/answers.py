"""Answers written as ASGI messages: what the hot path and the batch path share.

What may not enter: reading bodies, deciding. Ordinary routes answer through Litestar instead.
"""

from typing import Any, cast

import msgspec
from litestar.types import Scope, Send

from api.door import Visit
from api.problems import Headers, Refused, explain
from api.roles import SENDING
from api.telemetry import REFUSED
from engine.answer import Answer
from engine.submission import ANY_VERSION

_JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
_MINIMAL = (b"preference-applied", b"return=minimal")
_REPLAYED = (b"idempotency-replayed", b"true")
_POST_ONLY = "OPTIONS, POST"
#: Versions are small; their ETags are made once.
_ETAGS = [(b"etag", b'"%d"' % version) for version in range(1024)]


def visit_of(scope: Scope) -> Visit:
    """What the door found out."""
    return cast(Visit, cast(dict[str, Any], scope)["lotgate"])


def admit(scope: Scope, visit: Visit) -> None:
    """Refuse other methods than POST and principals that may not submit."""
    if cast(dict[str, Any], scope)["method"] != "POST":
        raise Refused("method-not-allowed", f"Use one of {_POST_ONLY} here.", headers={"allow": _POST_ONLY})
    require(visit, *SENDING)


def require(visit: Visit, *roles: str) -> None:
    """Refuse a principal that has none of ``roles``."""
    if not visit.principal.may(*roles):
        raise Refused(
            "forbidden", f"This call needs the role {' or '.join(roles)}, which the key {visit.principal.name} lacks."
        )


def version_of(if_match: bytes | None) -> int | None:
    """The version that ``If-Match`` asks for, ANY_VERSION for ``*``; raises Refused for what is no strong tag."""
    if if_match is None:
        return None
    if if_match == b"*":
        return ANY_VERSION
    if if_match[:1] == b'"' == if_match[-1:] and if_match[1:-1].isdigit() and len(if_match) < 14:
        return int(if_match[1:-1])
    raise Refused("header-invalid", 'If-Match must be one version as ETag gives it, such as "3".', "If-Match")


def wants_minimal(visit: Visit) -> bool:
    """Did the caller send ``Prefer: return=minimal`` (RFC 7240)?"""
    prefer = visit.headers.get(b"prefer")
    if prefer is None:
        return False
    return any(part.split(b";")[0].strip().lower() == b"return=minimal" for part in prefer.split(b","))


async def send_answer(decided: Answer, request_id: bytes, send: Send, *, minimal: bool = False) -> None:
    """Write the decision as it was committed, with the headers of its kind; ``minimal``: without its body."""
    status = decided.status
    minimal = minimal and status < 400
    body = b"" if minimal else decided.body
    headers: Headers = [
        _JSON if status < 400 else PROBLEM,
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
    ]
    if status < 400:
        headers.append((b"location", b"/v1/events/" + decided.key.encode()))
        version = decided.version
        if version is not None:
            headers.append(_ETAGS[version] if version < 1024 else (b"etag", b'"%d"' % version))
    if minimal:
        headers[0] = _MINIMAL
    if decided.replayed:
        headers.append(_REPLAYED)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_problem(error: Exception, scope: Scope, visit: Visit, send: Send) -> None:
    """Write a refusal of this floor, and count it."""
    made, extra = explain(error, scope["path"], visit.request_id.decode())
    REFUSED.labels(made.type.rpartition("/")[2]).inc()
    body = msgspec.json.encode(made)
    headers: Headers = [
        PROBLEM,
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", visit.request_id),
        *((name.encode(), value.encode()) for name, value in extra.items()),
    ]
    await send({"type": "http.response.start", "status": made.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_options(request_id: bytes, send: Send, allowed: str = _POST_ONLY) -> None:
    """Answer OPTIONS on an address that Litestar does not route."""
    headers = [(b"allow", allowed.encode()), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})

"""The ceiling: a handler of the same shape on the same server that decodes the same body strictly and does nothing.

Key look-up, media type, size and body as on the real path; the answer has the size of a real one.
Run with ``python -m bench.ceiling PORT``.
"""

import hashlib
import hmac
import sys
from typing import Any

from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

from api.web import configuration
from engine.decoding import decode_event
from engine.errors import EventInvalid

KEY = b"lotgate_bench_key"
_HELD = {hashlib.sha256(KEY).digest(): hashlib.sha256(KEY).digest()}
_ANSWER = b'{"outcome":"applied","padding":"' + b"x" * 900 + b'"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
_REFUSED = [(b"content-type", b"application/problem+json"), (b"content-length", b"0")]


@asgi("/v1/events", copy_scope=False)
async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Decode, answer."""
    headers = dict(scope["headers"])
    digest = hashlib.sha256(headers.get(b"authorization", b"")[7:]).digest()
    held = _HELD.get(digest)
    allowed = held is not None and hmac.compare_digest(held, digest)
    body = b""
    while True:
        message: Any = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        if not allowed or headers.get(b"content-type") != b"application/cloudevents+json" or len(body) > 1_048_576:
            raise EventInvalid("refused")
        decode_event(body)
    except EventInvalid:
        await send({"type": "http.response.start", "status": 422, "headers": _REFUSED})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 201, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


app = Litestar([events], openapi_config=None, logging_config=None)

if __name__ == "__main__":
    import uvicorn

    uvicorn.Server(configuration(app, "127.0.0.1", int(sys.argv[1]))).run()

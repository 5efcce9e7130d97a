"""Problem details (RFC 9457) for every refusal, raised by the engine, Litestar, Python or this floor.

What may not enter: routes, and the text of an unexpected exception; that goes to the log under the
correlation id, never to the caller. The kinds of problem are in api/problem_types.py.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.exceptions import HTTPException, NotFoundException
from msgspec import Struct
from sqlalchemy.exc import DataError, DBAPIError

from api.problem_types import CATALOGUE, page
from api.runbook import HELP
from api.telemetry import REFUSED
from engine.errors import EventInvalid, LotgateError, Overloaded, StoreUnavailable
from engine.rulesets import RuleFilesInvalid

log = logging.getLogger("lotgate.api")

MEDIA_TYPE = "application/problem+json"
_MARKDOWN = "text/markdown; charset=utf-8"

Headers = list[tuple[bytes, bytes]]

#: HTTP status of Litestar's and Starlette-like exceptions -> our code.
_BY_STATUS = {
    400: "parameter-invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "body-timeout",
    412: "precondition-failed",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "event-invalid",
    431: "headers-too-large",
    503: "overloaded",
}


class Fault(Struct, frozen=True):
    """One thing in the request that is at fault."""

    #: RFC 6901 JSON pointer into the body, or the name of a header or query parameter.
    pointer: str
    detail: str


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """The members every problem has; a gate's problem adds ``state``, ``allowed`` or ``rules``."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str
    errors: list[Fault] = []


class Refused(LotgateError):
    """This floor refuses a request; ``code`` is one of the catalogue, which gives title and status."""

    code = "malformed"

    def __init__(
        self, code: str, detail: str, pointer: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        kind = CATALOGUE[code]
        self.code = kind.code
        self.title = kind.title
        self.status = kind.status
        self.pointer = pointer
        self.headers = headers or {}


def problem(
    code: str, detail: str, instance: str, correlation_id: str, errors: Iterable[Fault] = ()
) -> ProblemDetails:
    """A problem of a known code; its title and status come from the catalogue."""
    kind = CATALOGUE[code]
    return ProblemDetails(
        f"/problems/{kind.code}", kind.title, kind.status, detail, instance, correlation_id, list(errors)
    )


def explain(error: Exception, instance: str, correlation_id: str) -> tuple[ProblemDetails, dict[str, str]]:
    """The problem that ``error`` stands for, and the headers that go with it.

    An error nobody foresaw is logged whole under the correlation id and answered without its text.
    """
    code, detail, faults, headers = _classify(error)
    if code == "internal-error":
        log.error("unexpected error, correlation_id=%s", correlation_id, exc_info=error)
    return problem(code, detail, instance, correlation_id, faults), headers


def _classify(error: Exception) -> tuple[str, str, list[Fault], dict[str, str]]:
    if isinstance(error, EventInvalid):
        code = "malformed" if error.malformed else error.code
        return code, error.detail, [Fault(error.pointer, error.detail)], {}
    if isinstance(error, Refused):
        faults = [] if error.pointer is None else [Fault(error.pointer, error.detail)]
        return error.code, error.detail, faults, dict(error.headers)
    if isinstance(error, RuleFilesInvalid):
        return error.code, error.detail, [Fault(place, words) for place, words in error.faults], {}
    if isinstance(error, Overloaded | StoreUnavailable):
        return error.code, error.detail, [], {"retry-after": str(error.retry_after_seconds)}
    if isinstance(error, LotgateError):
        # What a setting was, or which file is broken, is for the log of the plant, not for any caller.
        code = (
            error.code
            if error.code in CATALOGUE and CATALOGUE[error.code].status != 500
            else "internal-error"
        )
        return code, error.detail if code != "internal-error" else _REFERENCE, [], {}
    if isinstance(error, DataError):
        return "malformed", "A text has a NUL character, or a number is too large for the database.", [], {}
    if isinstance(error, DBAPIError):
        log.error("the database did not answer: %s", type(error.orig).__name__)
        return "store-unavailable", "The database does not answer now; try again.", [], {"retry-after": "2"}
    if isinstance(error, UnicodeDecodeError):
        return "malformed", "The request has bytes that are not UTF-8.", [], {}
    if isinstance(error, RecursionError):
        return "malformed", "The request is nested too deeply.", [], {}
    if isinstance(error, HTTPException) and error.status_code in _BY_STATUS:
        return _of_litestar(error)
    return "internal-error", _REFERENCE, [], {}


_REFERENCE = "Lotgate failed to answer. The log has the cause under this correlation id."


def _of_litestar(error: HTTPException) -> tuple[str, str, list[Fault], dict[str, str]]:
    code = _BY_STATUS[error.status_code]
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 404:
        return code, "No such address.", [], headers
    if error.status_code == 405:
        return code, f"Use {headers.get('allow', 'another method')} here.", [], headers
    extra = error.extra if isinstance(error.extra, list) else []
    faults = [Fault(str(e.get("key", "")), str(e.get("message", ""))) for e in extra if isinstance(e, dict)]
    return code, "; ".join(f"{f.pointer}: {f.detail}" for f in faults) or error.detail, faults, headers


def encode(
    code: str, detail: str, instance: str, correlation_id: str, errors: Iterable[Fault] = ()
) -> tuple[int, bytes]:
    """Status and body of a problem, for handlers that write ASGI messages themselves."""
    made = problem(code, detail, instance, correlation_id, errors)
    return made.status, msgspec.json.encode(made)


def answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar exception handler for everything: the one way an ordinary route refuses."""
    made, headers = explain(
        error, request.scope.get("raw_path", b"").decode("ascii", "replace"), _reference(request)
    )
    REFUSED.labels(made.type.rpartition("/")[2]).inc()
    return Response(
        msgspec.json.encode(made), status_code=made.status, headers=headers, media_type=MEDIA_TYPE
    )


def _reference(request: Request[Any, Any, Any]) -> str:
    # Put there by the door, which stands above this room: its type cannot be named here.
    visit: Any = request.scope.get("lotgate")
    return visit.request_id.decode() if visit is not None else ""


@get("/problems/{code:str}", media_type=_MARKDOWN)
async def problem_page(request: Request[Any, Any, Any], code: str) -> Response[str]:
    """The page that a problem's ``type`` leads to; a browser is sent to the console's."""
    kind = CATALOGUE.get(code)
    if kind is None:
        raise NotFoundException()
    if "text/html" in request.headers.get("accept", ""):
        there = {"location": f"{HELP}/problems#{kind.code}", "vary": "Accept"}
        return Response("", status_code=303, headers=there, media_type=_MARKDOWN)
    return Response(page(kind), headers={"vary": "Accept"}, media_type=_MARKDOWN)


@get("/problems", media_type=_MARKDOWN)
async def problem_index() -> str:
    """All problem types, one line each."""
    rows = "\n".join(
        f"- [{row.code}](/problems/{row.code}): {row.title} ({row.status})" for row in CATALOGUE.values()
    )
    return f"# Problems\n\n{rows}\n"

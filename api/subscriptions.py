"""Subscriptions of webhooks over HTTP: made, listed, their secrets rotated, switched off and on, told again.

What may not enter: SQL, and the telling itself (actors/webhooks.py).
"""

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response, delete, get, post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from actors.signing import secret_text
from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.door import Visit
from api.pages import json_answer
from api.problems import Refused
from api.views import Page
from engine.clock import instant, parse_instant
from engine.consequences import JOURNAL_TYPES
from engine.errors import EventInvalid, SettingInvalid
from engine.outbound import Guard
from engine.runtime import Front
from engine.subscriptions import Subscription, derived, signing_key

AnyRequest = Request[Any, Any, Any]
Body = TypeVar("Body")
#: With the old secret too, messages are signed for a day unless somebody says otherwise.
OVERLAP_SECONDS = 86_400.0


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be told, where."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    #: For people: whose it is.
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    #: Only these event types; none: every journal entry.
    types: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=64)] = []


class Rotate(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old secret signs, too."""

    overlap_s: Annotated[float, Meta(ge=0, le=2_592_000)] = OVERLAP_SECONDS


class Disable(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is told nothing."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class Recover(Struct, frozen=True, forbid_unknown_fields=True):
    """Since when it is told again."""

    #: An instant, such as 2026-11-23T08:00:00Z.
    since: str
    #: Count what would be told again, change nothing.
    dry_run: bool = False


class Subscribed(Struct, frozen=True):
    """A subscription with its signing secret, which is shown only now."""

    subscription: Subscription
    #: ``whsec_…``
    secret: str


class Recovered(Struct, frozen=True):
    """How many messages are, or would be, sent again."""

    messages: int
    dry_run: bool


def subscription_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    known = engine.ledger.subscriptions
    guard = Guard.of(engine.settings.outbound_allow)

    async def said(request: AnyRequest, kind: type[Body], otherwise: Body | None = None) -> tuple[Visit, Body]:
        visit = visit_of(request.scope)
        require(visit, "admin")
        body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
        if not body and otherwise is not None:
            return visit, otherwise
        if mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        return visit, _decoded(body, kind)

    def subscribed(line: Subscription) -> Subscribed:
        return Subscribed(line, secret_text(derived(signing_key(engine.settings), line.id, line.generation)))

    def add(wanted: Subscribe, by: str) -> Subscribed:
        guard.check(wanted.url)
        try:
            signing_key(engine.settings)  # before anything is stored: without a key nothing could be signed
        except SettingInvalid as error:
            raise Refused("setting-invalid", error.detail) from None
        return subscribed(known.add(wanted.url, wanted.name, tuple(dict.fromkeys(wanted.types)), by))

    @get("/v1/subscriptions")
    async def list_subscriptions(request: AnyRequest) -> Response[bytes]:
        """Every subscription."""
        require(visit_of(request.scope), "admin")
        return json_answer(Page(await asyncio.to_thread(known.lines), None))

    @post("/v1/subscriptions", status_code=201)
    async def subscribe(request: AnyRequest) -> Response[bytes]:
        """From now on an address is told every journal entry; the answer has the secret that signs."""
        visit, wanted = await said(request, Subscribe)
        strange = [name for name in wanted.types if name not in JOURNAL_TYPES]
        if strange:
            raise EventInvalid(f"There is no event type {strange[0]}; there are {', '.join(JOURNAL_TYPES)}.", "/types")
        return json_answer(await asyncio.to_thread(add, wanted, visit.principal.name))

    @get("/v1/subscriptions/{subscription:str}")
    async def show_subscription(request: AnyRequest, subscription: str) -> Response[bytes]:
        """One subscription."""
        require(visit_of(request.scope), "admin")
        return json_answer(await asyncio.to_thread(known.get, subscription))

    @delete("/v1/subscriptions/{subscription:str}", status_code=200)
    async def unsubscribe(request: AnyRequest, subscription: str) -> Response[bytes]:
        """It is over; what was still to be told is not."""
        require(visit_of(request.scope), "admin")
        return json_answer(await asyncio.to_thread(known.remove, subscription))

    @post("/v1/subscriptions/{subscription:str}/rotate", status_code=200)
    async def rotate_secret(request: AnyRequest, subscription: str) -> Response[bytes]:
        """A new secret; for a while messages are signed with both."""
        _, wanted = await said(request, Rotate, Rotate())
        return json_answer(subscribed(await asyncio.to_thread(known.rotate, subscription, wanted.overlap_s)))

    @post("/v1/subscriptions/{subscription:str}/disable", status_code=200)
    async def disable_subscription(request: AnyRequest, subscription: str) -> Response[bytes]:
        """Tell it nothing until it is enabled; nothing is lost."""
        visit, wanted = await said(request, Disable)
        await asyncio.to_thread(known.get, subscription)
        await asyncio.to_thread(known.disable, subscription, f"{visit.principal.name}: {wanted.reason}")
        return json_answer(await asyncio.to_thread(known.get, subscription))

    @post("/v1/subscriptions/{subscription:str}/enable", status_code=200)
    async def enable_subscription(request: AnyRequest, subscription: str) -> Response[bytes]:
        """Tell it again, from where it was disabled."""
        require(visit_of(request.scope), "admin")
        line = await asyncio.to_thread(known.enable, subscription)
        await asyncio.to_thread(
            engine.ledger.tasks.close_about, "webhook-disabled", "it was enabled again", subject=subscription
        )
        return json_answer(line)

    @post("/v1/subscriptions/{subscription:str}/recover", status_code=200)
    async def recover_subscription(request: AnyRequest, subscription: str) -> Response[bytes]:
        """Tell it everything again since an instant, under the same ids."""
        _, wanted = await said(request, Recover)
        since = _since(wanted.since)
        number = await asyncio.to_thread(known.recover, subscription, since, dry_run=wanted.dry_run)
        return json_answer(Recovered(number, wanted.dry_run))

    return [
        *_options(), list_subscriptions, subscribe, show_subscription, unsubscribe, rotate_secret, disable_subscription,
        enable_subscription, recover_subscription,
    ]  # fmt: skip


def _options() -> list[HTTPRouteHandler]:
    """What these addresses take: Litestar's own answer knows only the first handler of an address."""

    @route("/v1/subscriptions", http_method="OPTIONS", status_code=204)
    async def all_options(request: AnyRequest) -> Response[None]:
        """The list."""
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})

    @route("/v1/subscriptions/{subscription:str}", http_method="OPTIONS", status_code=204)
    async def one_options(request: AnyRequest, subscription: str) -> Response[None]:
        """One of them."""
        return Response(None, status_code=204, headers={"allow": "DELETE, GET, OPTIONS"})

    return [all_options, one_options]


def _since(text: str) -> str:
    try:
        return instant(parse_instant(text))
    except ValueError as error:
        raise EventInvalid(str(error), "/since") from None


def _decoded(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None

"""Shipment readiness over HTTP: may this leave now? Asked of lots, or of orders by their numbers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.answers import require, visit_of
from api.body import Patience
from api.door import path_part
from api.pages import json_answer
from api.queries import MAX_VERSION, cursor_after, limit_of, number_position_of, read_query
from api.said import said
from api.views import Page
from engine import events as ev
from engine.order_readiness import Freshness, OrderReadinesses
from engine.readiness import Question, Readinesses
from engine.readiness_record import Answered, ReadinessRecords
from engine.runtime import Front
from engine.signals import Signalled, signals_of

#: Orders of one question.
MAX_ORDERS = 200


class Orders(Struct, frozen=True, forbid_unknown_fields=True):
    """Orders that somebody asks about together."""

    orders: Annotated[list[ev.Code], Meta(min_length=1, max_length=MAX_ORDERS)]


class OrdersAnswered(Struct, frozen=True):
    """One answer each, in the order they were asked for."""

    orders: list[Answered]


def readiness_routes(
    engine: Front, patience: Patience, ring: Callable[[Sequence[str]], None]
) -> list[HTTPRouteHandler]:
    """The routes, for Litestar. ``ring``: for systems that are told of orders."""
    settings = engine.settings
    fresh = Freshness(settings.stale_after_s, settings.stale_facts)
    signals = signals_of(settings, engine.store, engine.clock, ring)
    readinesses = Readinesses(engine.store, engine.clock)
    of_orders = OrderReadinesses(engine.store, engine.clock, fresh)
    records = ReadinessRecords(engine.store, engine.clock)

    def ask(orders: list[str], name: str) -> list[Answered]:
        rulebook, today = engine.rules.book(), engine.today()
        return [records.keep(of_orders.of(order, rulebook, name, today), name) for order in orders]

    @post("/v1/shipments/readiness", status_code=200)
    async def shipment_readiness(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Ready, not ready or unknown, with every reason. Nothing is changed."""
        visit, question = await said(request, patience, Question, "read")
        rulebook = await asyncio.to_thread(engine.rules.book)
        name = visit.principal.name
        return json_answer(await asyncio.to_thread(readinesses.of, question, rulebook, name, engine.today()))

    @get("/v1/shipments/{order:str}/readiness")
    async def order_readiness(request: Request[Any, Any, Any], order: str) -> Response[bytes]:
        """The answer about one order; it is kept."""
        name = visit_of(request.scope).principal.name
        (found,) = await asyncio.to_thread(ask, [path_part(order)], name)
        return json_answer(found)

    @post("/v1/shipments/readiness/batch", status_code=200)
    async def orders_readiness(request: Request[Any, Any, Any]) -> Response[bytes]:
        """As for one order, for many."""
        visit, asked = await said(request, patience, Orders, "read")
        return json_answer(OrdersAnswered(await asyncio.to_thread(ask, asked.orders, visit.principal.name)))

    @get("/v1/shipments/{order:str}/answers")
    async def order_answers(request: Request[Any, Any, Any], order: str) -> Response[bytes]:
        """Everything that was answered about an order."""
        query = read_query(request.scope, ("cursor", "limit"))
        after, limit = number_position_of(query, MAX_VERSION) or 0, limit_of(query)
        rows, following = await asyncio.to_thread(records.page, path_part(order), after, limit)
        return json_answer(Page(rows, None if following is None else cursor_after(following)))

    @post("/v1/shipments/{order:str}/signal", status_code=200)
    async def signal_order(request: Request[Any, Any, Any], order: str) -> Response[bytes]:
        """Tell the warehouse whether the order may leave, and take it back when that changes."""
        visit = visit_of(request.scope)
        require(visit, "release")

        def send() -> Signalled:
            return signals.send(path_part(order), engine.rules.book(), visit.principal.name, engine.today())

        return json_answer(await asyncio.to_thread(send))

    return [signal_order, shipment_readiness, order_readiness, orders_readiness, order_answers]

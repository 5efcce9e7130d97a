"""Calls to one target by its connector file: one delivery, or several in one call.

What it gives back are :class:`Exchange`; it raises nothing for what a target or a network does. What may not enter:
the ledger, and when to call.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, json

from actors.connectors.answers import AGREED, AWAY, Meaning, Outcome, Seen, fitting, retry_after_seconds, seen
from actors.connectors.auth import LoginFailed, Session
from actors.connectors.client import Answer, Client, NoAnswer
from actors.connectors.format import Batch, Connector, Request, meaning, values
from actors.connectors.masks import Masks
from actors.connectors.template import fill
from engine.effects import StockStatus
from engine.ledger import Delivery

#: How much of a body is kept for people, and how much of it is shown in a sentence.
KEPT_CHARACTERS = 2000
SHOWN_CHARACTERS = 300
#: A registration that is there already is as good as a new one.
_THERE = ("applied", "duplicate")


class Call(Struct):
    """One request and what came of it, as people see it: without secrets."""

    method: str
    path: str
    headers: dict[str, str]
    json: Any
    #: None: no answer came.
    status: int | None
    answer: str
    seconds: float


class Exchange(Struct):
    """What was sent for one delivery, what came back, and what it means."""

    outcome: Outcome
    #: A sentence for people.
    detail: str
    calls: list[Call]
    #: Seconds that the target asked us to wait.
    retry_after_seconds: float | None = None
    #: The target, or the way to it, is to blame and not this delivery: others would have fared no better.
    away: bool = False
    #: The target refuses to be called as a batch; the delivery was not decided.
    alone: bool = False
    #: Nothing reached the target.
    unsent: bool = False

    def kept(self) -> str:
        """The exchange as the ledger keeps it."""
        return json.encode({"outcome": self.outcome, "calls": self.calls}).decode()


class Target:
    """One target system."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.masks = Masks(connector.secrets.values())
        self.session = session_of(connector, self.masks)

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        self.session.stop()

    def close(self) -> None:
        """Close every connection."""
        self.session.close()

    def deliver(self, deliveries: Sequence[Delivery], may_call: Callable[[], bool] = lambda: True) -> list[Exchange]:
        """Tell the target the statuses of ``deliveries``; register lots first where it does not know them.

        ``may_call`` is asked before every further call: no longer, when the leases end too soon.
        """
        if len(deliveries) == 1 or self.connector.deliver_batch is None:
            return [self._alone(delivery, may_call) for delivery in deliveries]
        found = self._together(self.connector.deliver_batch, deliveries, may_call)
        strangers = [i for i, exchange in enumerate(found) if exchange.outcome == "missing" and not exchange.alone]
        if strangers and self.connector.register_batch is not None and may_call():
            self._introduce(deliveries, found, strangers, may_call)
        for i, exchange in enumerate(found):
            # What a batch cannot settle, a call of its own may: one bad element spoils only itself.
            if exchange.alone or exchange.outcome == "missing":
                found[i] = self._alone(deliveries[i], may_call) if may_call() else _cut_short(exchange)
        return [_settled(exchange) for exchange in found]

    def _introduce(
        self, deliveries: Sequence[Delivery], found: list[Exchange], strangers: list[int], may_call: Callable[[], bool]
    ) -> None:
        """Register the lots that the target does not know, and tell it again."""
        registering, telling = self.connector.register_batch, self.connector.deliver_batch
        if registering is None or telling is None:
            return
        registered = self._together(registering, [deliveries[i] for i in strangers], may_call)
        for i, exchange in zip(strangers, registered, strict=True):
            calls = [*found[i].calls, *exchange.calls]
            found[i] = _unsettled(msgspec.structs.replace(exchange, calls=calls))
        known = [i for i, e in zip(strangers, registered, strict=True) if e.outcome in _THERE]
        if not known or not may_call():
            return
        for i, exchange in zip(known, self._together(telling, [deliveries[i] for i in known], may_call), strict=True):
            found[i] = msgspec.structs.replace(exchange, calls=[*found[i].calls, *exchange.calls])

    def _alone(self, delivery: Delivery, may_call: Callable[[], bool]) -> Exchange:
        known = values(self.connector, delivery.status, delivery.key)
        told = self._call(self.connector.telling, known, may_call)
        if told.outcome != "missing" or self.connector.register is None:
            return _settled(told)
        if not may_call():
            return _cut_short(told)
        registered = self._call(self.connector.register, known, may_call)
        registered.calls = [*told.calls, *registered.calls]
        if registered.outcome not in _THERE or not may_call():
            return _unsettled(registered)
        again = self._call(self.connector.telling, known, may_call)
        again.calls = [*registered.calls, *again.calls]
        return _settled(again)

    def _call(self, request: Request, known: dict[str, Any], may_call: Callable[[], bool]) -> Exchange:
        path = fill(request.path, known, escape=True)
        body = None if request.json is None else fill(request.json, known)
        exchange, answer = self._send(request, path, known, body, may_call)
        if answer is None:
            return exchange
        self.judge(exchange, request.classify, seen(answer))
        return exchange

    def judge(self, exchange: Exchange, lines: Sequence[Meaning], answer: Seen) -> None:
        """Fill in what ``answer`` means."""
        exchange.outcome, words = meaning(self.connector, lines, answer)
        exchange.detail = self.masks.text(words)[:KEPT_CHARACTERS] or exchange.detail
        # A success that is not the target's own answer is some proxy's.
        garbage = exchange.outcome == "retry" and answer.status < 300
        exchange.away = exchange.outcome in ("throttle", "auth", "unknown") or answer.status in AWAY or garbage
        if exchange.outcome == "auth":
            self.session.forget()

    def _together(self, batch: Batch, deliveries: Sequence[Delivery], may_call: Callable[[], bool]) -> list[Exchange]:
        """One exchange for each of ``deliveries``, in order, from one call."""
        known = [values(self.connector, d.status, d.key) for d in deliveries]
        body = {batch.items: [fill(batch.item, one) for one in known]}
        exchange, answer = self._send(batch, batch.path, self.connector.secrets, body, may_call)
        if answer is not None:
            read = seen(answer)
            results = read.body.get(batch.results) if isinstance(read.body, dict) else None
            if 200 <= answer.status < 300 and isinstance(results, list) and len(results) == len(deliveries):
                return [self._element(exchange.calls[0], body[batch.items][i], r, batch) for i, r in enumerate(results)]
            exchange.outcome, _ = meaning(self.connector, (), read)
            if exchange.outcome in AGREED:
                exchange.outcome = "retry"
            exchange.away = exchange.outcome != "permanent"
            exchange.alone = exchange.outcome in ("permanent", "missing", "superseded")
        for call in exchange.calls:
            call.json = f"{len(deliveries)} elements"
        return [msgspec.structs.replace(exchange, calls=list(exchange.calls)) for _ in deliveries]

    def _element(self, call: Call, sent: Any, result: Any, batch: Batch) -> Exchange:
        line = fitting(batch.classify, Seen(200, {}, result))
        outcome: Outcome = "permanent" if line is None else line.outcome
        shown = self.masks.text(json.encode(result).decode())
        words = f"{self.connector.name} answered for this lot in a batch: {shown[:SHOWN_CHARACTERS]}"
        mine = msgspec.structs.replace(call, json=sent, answer=shown[:KEPT_CHARACTERS])
        return Exchange(outcome, words, [mine])

    def _send(
        self, request: Request | Batch, path: str, known: dict[str, Any], body: Any,
        may_call: Callable[[], bool] = lambda: True,
    ) -> tuple[Exchange, Answer | None]:  # fmt: skip
        """One call; the outcome is filled in by the caller where an answer came."""
        began = time.monotonic()
        headers = {name: str(fill(value, known)) for name, value in request.headers.items()}
        call = Call(request.method, path, self.masks.headers(headers), body, None, "", 0.0)
        content = None if body is None else json.encode(body)
        if content is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        name = self.connector.name
        try:
            answer = self.session.call(request.method, path, headers, content, may_call)
        except NoAnswer as none:
            call.seconds = round(time.monotonic() - began, 3)
            outcome: Outcome = "permanent" if none.failure in ("unsendable", "refused") else "retry"
            words = self.masks.text(f"{name}: {none.detail}")
            unsent = none.failure in ("unreachable", "unsendable", "refused")
            return Exchange(outcome, words, [call], away=outcome == "retry", unsent=unsent), None
        except LoginFailed as failed:
            words = self.masks.text(f"{name}: {failed.detail}")
            return Exchange(failed.outcome, words, [call], failed.retry_after, away=True, unsent=True), None
        call.seconds = round(time.monotonic() - began, 3)
        call.status = answer.status
        shown = self.masks.text(answer.body[: KEPT_CHARACTERS * 4].decode("utf-8", "replace"))
        call.answer = shown[:KEPT_CHARACTERS]
        words = f"{name} answered {answer.status}: {shown[:SHOWN_CHARACTERS]}"
        return Exchange("retry", words, [call], retry_after_seconds(answer, time.time())), answer


def session_of(connector: Connector, masks: Masks) -> Session:
    """Calls to the target of ``connector``, as it wants to know its callers."""
    seconds = connector.limits.timeout_s
    client = Client(connector.base_url, seconds)
    return Session(client, connector.auth, connector.csrf, connector.secrets, masks, seconds)


def preview(connector: Connector, status: StockStatus, key: str) -> list[tuple[str, Call]]:
    """The requests that would tell the target ``status``, by their name in the file; nothing is sent."""
    known, masks = values(connector, status, key), Masks(connector.secrets.values())
    found = []
    for name, request in (("deliver", connector.deliver), ("register", connector.register)):
        if request is not None:
            headers = {header: str(fill(value, known)) for header, value in request.headers.items()}
            body = None if request.json is None else fill(request.json, known)
            path = connector.base_url + str(fill(request.path, known, escape=True))
            call = Call(request.method, path, masks.headers(headers), body, None, "", 0.0)
            found.append((name, call))
    return found


def _settled(exchange: Exchange) -> Exchange:
    """A target that still does not know a lot after it was told never will."""
    if exchange.outcome == "missing":
        exchange.outcome = "permanent"
    return exchange


def _cut_short(exchange: Exchange) -> Exchange:
    """The lease would not have outlived the next call: nothing is decided."""
    words = f"{exchange.detail}; the lease ended before the next call"
    return msgspec.structs.replace(exchange, outcome="retry", detail=words, away=True, alone=False)


def _unsettled(exchange: Exchange) -> Exchange:
    """The lot was registered, or not; its status was not told."""
    if exchange.outcome in _THERE:
        exchange.outcome = "retry"
    elif exchange.outcome in ("missing", "superseded"):
        exchange.outcome = "permanent"
    return exchange

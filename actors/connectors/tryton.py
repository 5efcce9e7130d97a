"""Telling Tryton: the stock of a lot is brought into the zone of its status, by one internal shipment a change.

Tryton has no status of a lot; what may be picked is decided by where it lies. Every delivery reads first, continues the
document that carries its own key where an answer was lost, and reads again after: nothing is moved twice. What may not
enter: the ledger, and when to call.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Literal
from urllib.parse import quote

from msgspec import Struct, json

from actors.connectors.answers import Outcome, seen
from actors.connectors.format import Connector, Request, values
from actors.connectors.http import Call, Exchange, Target
from actors.connectors.readback import Listing, Members, NotRead
from actors.connectors.template import fill
from engine.ledger import Delivery

#: The word for a status that Tryton books by itself.
IGNORED = "ignore"
#: Quantities are floats there; nothing smaller is stock.
SMALLEST = 6
#: The member that a reading has, and its words for no zone and for input and output zones.
ZONES, NOWHERE, OUTSIDE = "zones", "nowhere", "input or output"
_MODEL = "/rest/model/"
#: Documents of every Lotgate carry references that begin so.
_OURS = "lotgate:"
_OPEN = ["state", "not in", ["done", "cancelled"]]


class _Ended(Exception):
    """The delivery ends here, with this outcome."""

    def __init__(self, outcome: Outcome, detail: str, away: bool = False, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome
        self.detail = detail
        self.away = away
        self.retry_after = retry_after


class _Lot(Struct, frozen=True):
    """A lot as Tryton has it, and whose it is."""

    record: dict[str, Any]
    company: int


class _Lying(Struct, frozen=True):
    """Where a lot lies: how much in its zone, elsewhere in the storage zone, and in input and output zones."""

    storage: int
    zone: int
    there: float
    elsewhere: float
    outside: float


class TrytonTarget(Target):
    """One Tryton database, by its REST interface."""

    def deliver(self, deliveries: Sequence[Delivery], may_call: Callable[[], bool] = lambda: True) -> list[Exchange]:
        """Bring the lots of ``deliveries`` where their statuses want them; ``may_call`` is asked before every call."""
        return [self._bring(delivery, may_call) for delivery in deliveries]

    def _bring(self, delivery: Delivery, may_call: Callable[[], bool]) -> Exchange:
        visit = _Visit(self, delivery, may_call)
        try:
            detail = visit.run()
            return Exchange("applied" if visit.moved or not visit.was_done else "duplicate", detail, visit.calls)
        except _Ended as end:
            return Exchange(end.outcome, end.detail, visit.calls, end.retry_after, end.away)

    def ask(self, request: Request, path: str, body: Any) -> tuple[Exchange, Any]:
        """One call, its outcome, and the JSON that came back."""
        exchange, answer = self._send(request, path, self.connector.secrets, body)
        if answer is None:
            return exchange, None
        found = seen(answer)
        if 200 <= answer.status < 300:
            # A success that is no JSON is some proxy's.
            exchange.outcome, exchange.away = ("applied", False) if found.body is not None else ("retry", True)
        else:
            self.judge(exchange, request.classify, found)
        return exchange, found.body


class _Talk:
    """Calls to one target, each kept; raises _Ended for every answer that is no success."""

    def __init__(self, target: "TrytonTarget", may_call: Callable[[], bool]) -> None:
        self.calls: list[Call] = []
        self._target = target
        self._connector: Connector = target.connector
        self._may_call = may_call

    def lots(self, number: str, item: str) -> list[dict[str, Any]]:
        """Its records of the lot; more than one is a mistake of somebody's."""
        domain = [["number", "=", number], ["product.code", "=", item]]
        return self.search("stock.lot", domain, "product.id", "product.default_uom.id")

    def places(self, codes: list[str], lot: dict[str, Any], company: int) -> "_Places":
        """How much of the lot lies in each of ``codes`` and everything below it, and in every warehouse."""
        domain = ["OR", ["code", "in", codes], ["type", "=", "warehouse"]]
        about = {"company": company, "product": lot["product"]["id"], "lot": lot["id"], "with_childs": True}
        fields = ("code", "type", "quantity", "storage_location.id")
        return _Places(self.search("stock.location", domain, *fields, about=about))

    def search(
        self, model: str, domain: list[Any], *fields: str, about: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        found = self.ask("GET", model, None, *fields, domain=domain, about=about)
        if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
            raise _Ended("retry", f"{self._connector.name}: no list of records came back for {model}", away=True)
        return found

    def ask(
        self, method: Literal["GET", "POST"], path: str, body: Any, *fields: str, domain: list[Any] | None = None,
        about: dict[str, Any] | None = None, refused: Outcome | None = None,
    ) -> Any:  # fmt: skip
        """One call; gives the JSON of a success. ``refused``: what it means that Tryton's rules refuse."""
        if not self._may_call():
            raise _Ended("retry", "the lease ended before the next call", away=True)
        query = [f"f={field}" for field in fields]
        if domain is not None:
            query.append(f"d={quote(_packed(domain))}")
        headers = dict(self._connector.telling.headers)
        if about is not None:
            headers["X-Tryton-Context"] = _packed(about)
        request = Request(method, f"{_MODEL}{path}", headers)
        exchange, seen = self._target.ask(request, f"{_MODEL}{path}?{'&'.join(query)}", body)
        self.calls += exchange.calls
        if exchange.outcome == "applied":
            return seen
        if refused is not None and exchange.calls[0].status == 400:
            exchange.outcome = refused
        raise _Ended(exchange.outcome, exchange.detail, exchange.away, exchange.retry_after_seconds)


class _Places:
    """Locations and how much lies there."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found

    def one(self, code: str) -> dict[str, Any]:
        """The location with that code."""
        places = [place for place in self._found if place["code"] == code and place["type"] != "warehouse"]
        if len(places) != 1:
            raise _Ended("permanent", f"there are {len(places)} locations with the code {code}; there has to be one")
        return places[0]

    def quantity(self, code: str) -> float:
        """What lies there and below."""
        return float(self.one(code)["quantity"] or 0.0)

    def outside(self, storage: str) -> float:
        """What its warehouse holds beside the storage zone: in input and output zones."""
        place = self.one(storage)
        house = next((p for p in self._found if (p["storage_location"] or {}).get("id") == place["id"]), place)
        return round((house["quantity"] or 0.0) - (place["quantity"] or 0.0), SMALLEST)


class _Visit(_Talk):
    """One delivery on its way."""

    def __init__(self, target: TrytonTarget, delivery: Delivery, may_call: Callable[[], bool]) -> None:
        super().__init__(target, may_call)
        #: A document of this delivery is done; and it was not done before: then an answer was lost.
        self.was_done = self.moved = False
        self._key = delivery.key
        self._status = delivery.status
        self._document: dict[str, Any] = fill(
            self._connector.telling.json, values(self._connector, delivery.status, delivery.key)
        )
        self._storage, self._zone = self._document["from_location"], self._document["to_location"]

    def run(self) -> str:
        """Gives a sentence; raises _Ended for every end but agreement."""
        if self._connector.stock[self._status.stock] == IGNORED:
            return f"{self._connector.name} books {self._status.stock} by itself"
        lot = self._find_lot()
        if lot is None:
            return f"{self._connector.name} does not know the lot, and need not: it is closed"
        lying = self._lying(lot)
        document = self._take_up(lot, lying.elsewhere)
        if lying.elsewhere > 0:
            self._move(lot, lying, document)
            lying = self._lying(lot)
            if self._take_up(lot, lying.elsewhere) is not None or lying.elsewhere > 0:
                raise _Ended("retry", f"{lying.elsewhere:g} lie outside of {self._zone} though the document is done")
        elif document is not None:
            self._step(document, "cancel")
        return self._judged(lying)

    def _judged(self, lying: _Lying) -> str:
        """Nothing lies in another zone: is that agreement?"""
        if lying.outside > 0 and (not self._status.allocatable or lying.there == 0):
            words = f"{lying.outside:g} lie in an input or output zone: put them away, or take them back"
            raise _Ended("conflict", words)
        if lying.there == 0 and self._status.stock != "none":
            raise _Ended("conflict", f"{self._connector.name} has no stock of the lot")
        return f"{lying.there:g} lie in {self._zone}"

    # -- reading -----------------------------------------------------------------------------------------------

    def _find_lot(self) -> _Lot | None:
        found = self.lots(self._status.lot, self._status.item)
        if len(found) > 1:
            words = f"{len(found)} lots of {self._status.item} have the number {self._status.lot}: each needs its own"
            raise _Ended("permanent", words)
        if not found:
            if self._status.stock == "none":
                return None
            words = f"{self._connector.name} has no lot {self._status.lot} of {self._status.item}"
            raise _Ended("conflict", words)
        return _Lot(found[0], self._document["company"])

    def _lying(self, lot: _Lot) -> _Lying:
        """Where the lot lies now."""
        found = self.places([self._storage, self._zone], lot.record, lot.company)
        there, outside = found.quantity(self._zone), found.outside(self._storage)
        elsewhere = round(found.quantity(self._storage) - there, SMALLEST)
        if min(there, elsewhere, outside) < 0:
            words = f"it counts less than nothing in {self._storage} or {self._zone}: somebody has to look"
            raise _Ended("conflict", words)
        return _Lying(found.one(self._storage)["id"], found.one(self._zone)["id"], there, elsewhere, outside)

    def _take_up(self, lot: _Lot, quantity: float) -> dict[str, Any] | None:
        """The open document of this delivery, if it fits; every other open one of ours is cancelled."""
        ours = [["reference", "like", f"{_OURS}%"], ["OR", _OPEN, ["reference", "=", self._key]]]
        fields = ("reference", "state", "moves.quantity", "moves.state", "to_location.code")
        mine: dict[str, Any] | None = None
        for document in self.search("stock.shipment.internal", [["moves.lot", "=", lot.record["id"]], *ours], *fields):
            if document["state"] in ("done", "cancelled"):
                self.was_done = self.was_done or document["state"] == "done"
                continue
            asked = round(sum(m["quantity"] for m in document["moves"] if m["state"] != "cancelled"), SMALLEST)
            fits = document["reference"] == self._key and document["to_location"]["code"] == self._zone
            if mine is None and fits and asked == quantity:
                mine = document
            else:
                self._step(document, "cancel")
        return mine

    # -- moving ------------------------------------------------------------------------------------------------

    def _move(self, lot: _Lot, lying: _Lying, document: dict[str, Any] | None) -> None:
        """Make the document, reserve, and do it: separate steps, each of which may be taken up again."""
        if document is None:
            document = self._create(lot, lying)
        if document["state"] == "draft":
            document = self._step(document, "wait")
        if document["state"] == "waiting":
            document = self._step(document, "assign_try")
        if document["state"] == "waiting" and not self._status.allocatable and self._unreserve(lot):
            document = self._step(document, "assign_try")
        if document["state"] != "assigned":
            self._step(document, "cancel")
            words = f"{lying.elsewhere:g} lie outside of {self._zone}, and not all may be moved: some are reserved"
            raise _Ended("conflict", words)
        self._step(document, "do")
        self.moved = True

    def _create(self, lot: _Lot, lying: _Lying) -> dict[str, Any]:
        way = {"from_location": lying.storage, "to_location": lying.zone, "company": lot.company}
        product = lot.record["product"]
        what = {"product": product["id"], "lot": lot.record["id"], "unit": product["default_uom"]["id"]}
        move = {**what, "quantity": lying.elsewhere, **way}
        body = {**self._document, **way, "moves": [["create", [move]]]}
        return _document(self.ask("POST", "stock.shipment.internal", body, "state"))

    def _unreserve(self, lot: _Lot) -> bool:
        """Take the lot away from customers' shipments that are not picked yet: they wait for other stock."""
        reserved = [["state", "=", "assigned"], ["shipment", "like", "stock.shipment.out,%"]]
        moves = self.search("stock.move", [["lot", "=", lot.record["id"]], *reserved], "shipment")
        shipments = sorted({str(move["shipment"]).partition(",")[2] for move in moves})
        for shipment in shipments:
            self.ask("POST", f"stock.shipment.out/{shipment}/wait", {}, "state", refused="retry")
        return bool(shipments)

    def _step(self, document: dict[str, Any], step: Literal["wait", "assign_try", "do", "cancel"]) -> dict[str, Any]:
        """One step of a document. A step that is refused was taken meanwhile, or something changed: read again."""
        path = f"stock.shipment.internal/{document['id']}/{step}"
        return _document(self.ask("POST", path, {}, "state", refused="retry"))


class TrytonReader:
    """Reads back where Tryton has lots: ``zones``, the codes of every zone in which anything of the lot lies.

    ``nowhere``: it has none of it. Raises NotRead for whatever keeps it from doing so.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._target = TrytonTarget(connector)

    def close(self) -> None:
        """Cut off what is under way; close every connection."""
        self._target.stop()
        self._target.close()

    def one(self, known: Members) -> Members | None:
        """What Tryton says of one lot; None: it does not know it."""
        try:
            return self._zones(_Talk(self._target, lambda: True), known)
        except _Ended as end:
            raise NotRead(end.detail) from None

    def document(self, path: str, known: Members) -> Members | None:
        """Tryton finds its documents by searches, which a path does not say."""
        raise NotRead(f"{self._connector.name}: Tryton has no paths of documents; leave read_back.documents out")

    def page(self, listing: Listing, after: str) -> tuple[dict[str, Members], str | None]:
        """Lots are asked for one by one: a list of lots would not say where they lie."""
        raise NotRead(f"{self._connector.name}: read_back has a list, and Tryton has none; leave it out")

    def _zones(self, talk: _Talk, known: Members) -> Members | None:
        lots = talk.lots(known["lot"], known["item"])
        if len(lots) != 1:
            return {ZONES: f"{len(lots)} lots"} if lots else None
        document = self._connector.telling.json or {}
        storage = str(document["from_location"])
        words = sorted({word for word in self._connector.stock.values() if word != IGNORED})
        places = talk.places([storage, *words], lots[0], document["company"])
        held = {word: places.quantity(word) for word in words}
        held[storage] = round(places.quantity(storage) - sum(held.values()), SMALLEST)
        # What is picked for a customer lies in the output zone: as it should, as long as the lot may be shipped.
        held[OUTSIDE] = 0.0 if known["allocatable"] else places.outside(storage)
        found = ", ".join(code for code, quantity in held.items() if quantity != 0)
        if not found:
            return {ZONES: known["target_stock"] if known["stock"] in ("issued", "none") else NOWHERE}
        return {ZONES: found}


def _document(seen: Any) -> dict[str, Any]:
    if not isinstance(seen, dict) or "state" not in seen or "id" not in seen:
        raise _Ended("retry", "no document of Tryton came back", away=True)
    return seen


def _packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.encode(value)).decode()

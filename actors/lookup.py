"""Where is this lot now, in everybody else's books? Every target that takes it is asked when somebody asks.

Nothing is copied and nothing is changed: each answer says when it was given, how long it took and how it compares with
what was decided; a target that does not answer in time is shown as such and holds up no other. What may not enter:
how a target is asked (actors/connectors/readback.py), and what follows from a difference (actors/reconcile.py).
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import msgspec
from msgspec import Struct

from actors.connectors.format import Connector, ConnectorInvalid, load, values
from actors.connectors.protocols import reader_of
from actors.connectors.readback import (
    DOCUMENT_NAMES,
    Members,
    NotRead,
    ReadBack,
    TargetReader,
    differing,
    version_of,
)
from actors.connectors.template import names_in
from engine.clock import Clock, instant
from engine.effects import stock_status
from engine.errors import Overloaded
from engine.ledger import Ledger
from engine.lot import Lot
from engine.routing import is_unrouted, load_routes
from engine.settings import Settings
from engine.store.opening import Store
from engine.store.reading import Reading

#: Somebody waits for the answer: what a target has not said by then, it has not said.
LOOKUP_SECONDS = 3.0
#: Look-ups that may ask one target at the same time, per web process: its work goes before our curiosity.
AT_ONCE = 2
#: People who may wait for answers at the same time, per web process; more are told to come back.
WAITING = 8
#: A question that waited for its turn has at least so long.
LEAST_SECONDS = 0.1


class Document(Struct, frozen=True):
    """One document beside the lot: a purchase order, a sales order, a production order."""

    name: str
    #: What the target says; null: it has no such document, or ``problem`` says why it is not known.
    said: dict[str, Any] | None
    problem: str | None = None


class SystemAnswer(Struct, frozen=True):
    """What one target says of the lot."""

    target: str
    #: agrees · differs · unknown-lot (it does not know it) · not-read (see ``problem``)
    outcome: str
    #: Instant of the question, and how long the answers took; null: there was none.
    asked_at: str
    took_ms: int | None
    #: In the target's own words; null: it said nothing.
    said: dict[str, Any] | None
    #: Members that are not as decided: what they ought to be, what they are.
    expected: dict[str, str]
    observed: dict[str, str]
    #: Version of the lot that the target was told last, as it says; null: it does not say.
    version: int | None
    #: A decision that has not reached it yet: a difference may be nothing but that.
    owed: bool
    documents: list[Document]
    problem: str | None = None


class Elsewhere(Struct, frozen=True):
    """One lot, and what everybody says of it. ``systems`` in the order of the settings."""

    lot: str
    version: int
    state: str
    systems: list[SystemAnswer]


class Lookup:
    """Asks targets for people who wait. Thread-safe."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._reading = Reading(store)
        self._ledger = Ledger(store, clock)
        #: Those who wait for answers: nothing else waits behind them, and they behind nothing else.
        self._waiting = ThreadPoolExecutor(WAITING, thread_name_prefix="lookup")
        self._places = threading.BoundedSemaphore(WAITING)
        #: Those who ask, a few for each target: one that hangs holds up its own alone.
        self._asking: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """End; what is under way ends in ``LOOKUP_SECONDS``."""
        for pool in (self._waiting, *self._asking.values()):
            pool.shutdown(wait=False, cancel_futures=True)

    def of(self, lot_id: str) -> "Future[Elsewhere]":
        """Ask every target that takes the lot, in ``LOOKUP_SECONDS``. Raises Overloaded where too many wait already.

        The future raises NotFound for a lot that there is not.
        """
        if not self._places.acquire(blocking=False):
            detail = "As many wait for other systems' answers as may; ask again in a few seconds."
            raise Overloaded(detail, retry_after_seconds=round(LOOKUP_SECONDS))
        asked = self._waiting.submit(self._of, lot_id)
        asked.add_done_callback(lambda _: self._places.release())
        return asked

    def _of(self, lot_id: str) -> Elsewhere:
        lot = self._reading.lot(lot_id)
        told = self._ledger.acknowledged(lot_id)
        owed = {row.target for row in told if row.sent_version != row.acknowledged_version}
        asked_at, started = instant(self._clock()), time.monotonic()
        names = [name for name in load_routes(self._settings).of(lot) if not is_unrouted(name)]
        asks = {name: self._pool(name).submit(self._ask, name, lot, started + LOOKUP_SECONDS) for name in names}
        wait(asks.values(), LOOKUP_SECONDS)
        return Elsewhere(
            lot.id, lot.version, lot.state,
            [_answer(name, asks[name], asked_at, owed=name in owed) for name in names],
        )  # fmt: skip

    def _pool(self, target: str) -> ThreadPoolExecutor:
        with self._lock:
            if target not in self._asking:
                self._asking[target] = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"ask-{target}")
            return self._asking[target]

    def _ask(self, target: str, lot: Lot, deadline: float) -> "_Said":
        began = time.monotonic()
        connector = load(self._settings.connectors / f"{target}.yaml", self._settings)
        part = connector.read_back
        if part is None:
            raise NotRead(f"{target}.yaml has no read_back part, so {target} cannot be asked")
        patience = min(connector.limits.timeout_s, max(LEAST_SECONDS, deadline - began))
        limits = msgspec.structs.replace(connector.limits, timeout_s=patience)
        reader = reader_of(
            msgspec.structs.replace(connector, limits=limits), part, lambda: time.monotonic() + LEAST_SECONDS < deadline
        )
        try:
            return _read(connector, part, reader, lot, began)
        finally:
            reader.close()


class _Said(Struct, frozen=True):
    """What came back from one target."""

    seen: Members | None
    expected: dict[str, str]
    observed: dict[str, str]
    version: int | None
    documents: list[Document]
    took_ms: int


def _read(connector: Connector, part: ReadBack, reader: TargetReader, lot: Lot, began: float) -> _Said:
    known = values(connector, stock_status(lot), "")
    seen = reader.one(known)
    expected, observed = ({}, {}) if seen is None else differing(part, known, seen)
    more = known | {name: getattr(lot, name) for name in DOCUMENT_NAMES}
    documents = [
        _document(name, lambda path=path: reader.document(path, more))  # type: ignore[misc]  # mypy infers no default
        for name, path in part.documents.items()
        if all(more[needed] is not None for needed in names_in(path) if needed is not None)
    ]
    version = None if seen is None else version_of(part, seen)
    return _Said(seen, expected, observed, version, documents, round((time.monotonic() - began) * 1000))


def _document(name: str, read: Callable[[], Members | None]) -> Document:
    try:
        seen = read()
    except NotRead as error:
        return Document(name, None, error.detail)
    return Document(name, None if seen is None else dict(seen))


def _answer(target: str, ask: "Future[_Said]", asked_at: str, *, owed: bool) -> SystemAnswer:
    problem, said = None, None
    if ask.cancel() or not ask.done():
        problem = f"{target} did not answer within {LOOKUP_SECONDS:g} s"
    else:
        try:
            said = ask.result()
        except (NotRead, ConnectorInvalid) as error:
            problem = error.detail
    if said is None:
        return SystemAnswer(target, "not-read", asked_at, None, None, {}, {}, None, owed, [], problem)
    outcome = "unknown-lot" if said.seen is None else "differs" if said.expected else "agrees"
    seen = None if said.seen is None else dict(said.seen)
    return SystemAnswer(
        target, outcome, asked_at, said.took_ms, seen, said.expected, said.observed, said.version, owed,
        said.documents,
    )  # fmt: skip

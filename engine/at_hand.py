"""What a batch has at hand to decide with: the lots it touches, their results, and what is known around them.

It is read through the committer's cursor before the batch is decided, and more of it when something that waited is
taken up. What may not enter: deciding, and the rows that a decision leaves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from engine import events as ev
from engine.concessions import cited_by_records
from engine.decide import trigger_of
from engine.gather import Fact, with_results
from engine.known import Reference
from engine.lot import Lot
from engine.reference import read_reference
from engine.scopes import BRINGS, standing_of
from engine.store import writing
from engine.store.concessions import read_accounts, settle
from engine.submission import Submission
from engine.surroundings import Surroundings
from engine.track_record import read_tracks
from engine.tracks import KINDS, pair_of

_decode_measurements = msgspec.json.Decoder(list[ev.Measurement]).decode


class AtHand:
    """Of one batch."""

    def __init__(
        self,
        submissions: Sequence[Submission],
        cursor: writing.Cursor,
        statements: writing.Statements,
        surroundings: Callable[[Mapping[str, tuple[str, ...]]], Surroundings],
        *,
        alone: bool,
    ) -> None:
        """``surroundings``: the moment of the decision, given the targets that have not acknowledged. ``alone``: no
        other batch of this thread is under way, so what is shared with other lots may be locked."""
        self._submissions = submissions
        self._cursor = cursor
        self._statements = statements
        self._surroundings = surroundings
        self._alone = alone
        #: Lots as they are after what was decided so far, ...
        self.lots: dict[str, Lot] = {}
        #: ... and as they were read.
        self.stored: dict[str, Lot] = {}
        #: Results in force, by lot.
        self.results: dict[str, list[Fact]] = {}
        self.around = surroundings({})
        #: Who is told every journal entry, with the types that they want.
        self.listeners: list[tuple[str, frozenset[str]]] = []
        #: Changes of what stands on scopes when it was read; None: nobody looked.
        self._standing_as_of: int | None = None
        #: Concessions by which this batch decides.
        self._looked: set[str] = set()
        #: Items and suppliers that were read about.
        self._about: set[tuple[str, str | None]] = set()

    def load(self, subs: Sequence[Submission]) -> None:
        """Read what ``subs`` need."""
        statements, cursor = self._statements, self._cursor
        ids: set[str] = set()
        for sub in subs:
            ids.update(sub.touched)
        # With others of this thread under way it waits for nobody: who has the lot may be waiting for one of theirs.
        self.stored = writing.read_lots(cursor, statements, ids, waits=self._alone) if ids else {}
        self.lots = dict(self.stored)
        shipping = [s.event.subject for s in subs if isinstance(s.event, ev.LotShipped)]
        self.listeners = writing.read_subscriptions(cursor, statements)
        undelivered = writing.read_undelivered(cursor, statements, shipping) if shipping else {}
        self.around = self._surroundings(undelivered)
        self._load_results(self.stored.values())
        self._load_standing(subs)
        self._load_accounts(self.stored.values(), subs)
        self._load_around(self.stored.values(), subs)

    def load_more(self, subs: Sequence[Submission]) -> None:
        """Read what ``subs`` need and is not at hand."""
        missing = {i for sub in subs for i in sub.touched} - self.lots.keys()
        if missing:
            found = writing.read_lots(self._cursor, self._statements, missing, waits=True)
            self.stored.update(found)
            self.lots.update(found)
            self._load_results(found.values())
            self._load_around(found.values(), subs)
        self._load_standing(subs)
        self._load_accounts([self.lots[i] for i in missing if i in self.lots], subs)

    def shared(self, sub: Submission) -> tuple[str, ...]:
        """Concessions that ``sub`` may use: those it names, and those by which its record was, or is being, decided."""
        event = sub.event
        if not isinstance(event, ev.LotDispositioned | ev.UsageDecided) or event.data.record is None:
            return sub.concessions
        lot = self.lots.get(event.subject)
        named = [other.concessions for other in self._submissions if other.event.subject == event.subject]
        decided = () if lot is None else cited_by_records(lot)
        return tuple(dict.fromkeys((*sub.concessions, *decided, *(n for numbers in named for n in numbers))))

    def is_overtaken(self) -> bool:
        """Did what stands on scopes change since this batch looked? Asked in the transaction that commits it."""
        if self._standing_as_of is None:
            return False
        return writing.read_scope_changes(self._cursor, self._statements) != self._standing_as_of

    def settle(self) -> None:
        """Write what is used under concessions, in the transaction that commits the batch. Raises Overtaken."""
        accounts, now = self.around.accounts, self.around.now
        settle(self._cursor, self._statements, accounts, self._looked, now, waits=self._alone)

    def _load_standing(self, subs: Sequence[Submission]) -> None:
        """Read which holds stand on scopes, where a lot may come under one."""
        if self._standing_as_of is None and any(trigger_of(sub.event) in BRINGS for sub in subs):
            rows = writing.read_standing(self._cursor, self._statements)
            self._standing_as_of, self.around.standing = standing_of(rows)

    def _load_accounts(self, lots: Iterable[Lot], subs: Sequence[Submission]) -> None:
        """Read what is used under the concessions that ``subs`` may use, or that ``lots`` are used by."""
        lots = list(lots)
        asked = {number for sub in subs for number in self.shared(sub)}
        numbers = asked | {lot.concession.number for lot in lots if lot.concession is not None}
        if not numbers:
            return
        self._looked |= asked
        # What counts of a lot is asked of every lot at hand: one may be put together with, or split off from, another.
        names = set(self.lots) | {lot.id for lot in lots}
        self.around.accounts.learn(
            read_accounts(self._cursor, self._statements, numbers, sorted(names), lock=self._alone)
        )

    def _load_results(self, lots: Iterable[Lot]) -> None:
        lots = list(lots)
        wanted = {lot.results_from or lot.id for lot in lots if lot.has_results}
        if not wanted:
            return
        records: dict[str, list[writing.Result]] = {}
        for record in writing.read_results(self._cursor, self._statements, wanted):
            records.setdefault(record[0], []).append(record)
        for lot in lots:
            if lot.has_results:
                self.results[lot.id] = results_in_force(lot, records.get(lot.results_from or lot.id, ()))

    def _load_around(self, lots: Iterable[Lot], subs: Sequence[Submission]) -> None:
        """Read what is known and was counted of the lots' items and suppliers."""
        about = {(lot.item, lot.supplier) for lot in lots}
        for sub in subs:
            if isinstance(sub.event, ev.LotReceived | ev.LotProduced | ev.ProductionStarted):
                about.add((sub.event.data.item, getattr(sub.event.data, "supplier", None)))
        about -= self._about
        if not about:
            return
        self._about |= about
        around, every = self.around, self._about
        items, suppliers = {i for i, _ in every}, {s for _, s in every if s is not None}
        around.reference = Reference(read_reference(self._cursor, self._statements, items, suppliers))
        if KINDS & around.rulebook.kinds or around.reference.switches:
            around.tracks = read_tracks(self._cursor, self._statements, {pair_of(*one) for one in every})
        if around.reference.skips:
            around.secret = writing.read_sampling_secret(self._cursor, self._statements)


def results_in_force(lot: Lot, records: Iterable[writing.Result]) -> list[Fact]:
    """Result facts of the lot's present inspection: records before a re-inspection do not count."""
    facts: list[Fact] = []
    for _, version, inspection, measurements in records:
        if lot.results_after < version <= lot.results_version:
            facts = with_results(facts, inspection, _decode_measurements(measurements))
    return facts

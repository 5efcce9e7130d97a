"""One batch on its way: what is known, what is loaded, the courses, and the rows they leave.

A batch decides in order per lot and judges together: every lot's first event runs until rules must judge, all cases
go to the judge at once, and so on. It reads through the committer's cursor and
writes nothing itself.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from engine import events as ev
from engine import in_process
from engine.answer import Answer, answer_of, notice, problem
from engine.concessions import cited_by_records
from engine.course import Course
from engine.decide import trigger_of
from engine.decoding import decode_event
from engine.effects import encode_status
from engine.gather import Fact, with_results
from engine.genealogy import links_of, spread_of
from engine.journal import Entry
from engine.known import Reference
from engine.lineage import Links
from engine.lot import Lot
from engine.operation_results import OperationResults
from engine.queues import Queues
from engine.reference import read_reference
from engine.routing import Routes
from engine.rows import hold_rows, journal_row, lot_row, record_row
from engine.scopes import BRINGS, standing_of
from engine.store import writing
from engine.store.concessions import read_accounts, settle
from engine.submission import ANY_VERSION, Submission, claims, concession_key, submission
from engine.surroundings import Surroundings
from engine.track_record import read_tracks
from engine.tracks import KINDS, pair_of
from rules.rulebook import Case, Judgement

log = logging.getLogger("lotgate.pipeline")

#: Scopes of holds that many lots get at once.
_URGENT = frozenset({"recall", "item", "supplier", "order", "filter"})
#: How long an event waits for what it depends on, before somebody is told.
PARKED_FOR_SECONDS = 7 * 24 * 3600.0
_decode_measurements = msgspec.json.Decoder(list[ev.Measurement]).decode
Judging = Generator[list[Case], list[Judgement], None]


class Batch:
    """Submissions that are decided and committed together. :meth:`decide`, then :meth:`rows`, then :meth:`answers`."""

    def __init__(
        self,
        submissions: Sequence[Submission],
        cursor: writing.Cursor,
        statements: writing.Statements,
        routes: Routes,
        surroundings: Callable[[Mapping[str, tuple[str, ...]]], Surroundings],
        *,
        alone: bool = False,
    ) -> None:
        """``alone``: no other batch of this thread is under way, so what is shared with other lots may be locked."""
        self._alone = alone
        self.submissions = submissions
        self._cursor = cursor
        self._statements = statements
        self._routes = routes
        #: The moment of the decision, given the targets that have not acknowledged.
        self._surroundings = surroundings
        self._lots: dict[str, Lot] = {}
        self._stored: dict[str, Lot] = {}
        self._results: dict[str, list[Fact]] = {}
        self._answers: dict[int, Answer] = {}
        #: Courses that ran, in order, with the index of their submission (None: it was parked earlier).
        self._ran: list[tuple[int | None, Course]] = []
        self._parked: dict[str, tuple[int | None, Course]] = {}
        self._unparked: list[str] = []
        #: Copies within the batch, with the index of the first.
        self._twins: dict[int, int] = {}
        #: Events that only repeat a business document.
        self._repeats: list[tuple[int, Submission]] = []
        #: Business documents that this batch has applied, with their event key.
        self._documents: dict[str, str] = {}
        #: Who is told every journal entry, with the types that they want.
        self._listeners: list[tuple[str, frozenset[str]]] = []
        self._around = surroundings({})
        #: Changes of what stands on scopes when it was read; None: nobody looked.
        self._standing_as_of: int | None = None
        #: Concessions by which this batch decided.
        self._looked: set[str] = set()
        #: Items and suppliers that were read about.
        self._about: set[tuple[str, str | None]] = set()
        self._links = Links(cursor, statements)
        self._in_process = OperationResults(cursor, statements)
        #: Rows of what lots are made of, and of what has to be passed on in their families.
        self._link_rows: list[tuple[Any, ...]] = []
        self._spreading: list[tuple[Any, ...]] = []

    def answers(self) -> list[Answer]:
        """One answer a submission, in order."""
        return [self._answers[index] for index in range(len(self.submissions))]

    # -- deciding ----------------------------------------------------------------------------------------------

    def decide(self, arrived: Sequence[str] = ()) -> Judging:
        """Answer what is known, decide the rest in order, then whatever waited for it.

        Yields the cases that rules must judge, all that can be asked at once, and is sent their judgements; none of
        them where it may go on only when the batch before has landed.
        ``arrived``: needs (``lot:…``, ``hold:…|…``) that were met elsewhere, whose parked events are to be taken up.
        """
        fresh = self._recognise() if self.submissions else []
        self._load([self.submissions[i] for i in fresh])
        courses: list[tuple[int | None, Submission]] = [(i, self.submissions[i]) for i in fresh]
        courses += self._take_up(list(arrived))
        while courses:
            arrived = yield from self._run(courses)
            if arrived and not self._alone:
                # What waited may be of lots that the batch before has locked: it has to land first.
                yield []
            courses = self._take_up(arrived)

    def touched(self) -> set[str]:
        """What the batch may change: ids of lots, event keys, business documents."""
        return set(self._lots).union(*(claims(sub) for sub in self.submissions))

    def _recognise(self) -> list[int]:
        """Answer replays and known documents; give the indices of the events that are new."""
        subs = self.submissions
        business = [s.business_key for s in subs if s.business_key is not None]
        known = writing.read_known(self._cursor, self._statements, [s.key for s in subs], business)
        by_key = {k.key: k for k in known}
        self._documents = {k.business_key: k.key for k in known if k.business_key is not None}
        first: dict[str, int] = {}
        fresh: list[int] = []
        for index, sub in enumerate(subs):
            seen = by_key.get(sub.key)
            if seen is not None:
                self._answers[index] = _again(
                    sub, seen.digest, seen.status, seen.answer, seen.lot_version, seen.outcome
                )
            elif sub.key in first:
                self._twins[index] = first[sub.key]
            else:
                first[sub.key] = index
                fresh.append(index)
        return fresh

    def _settled_beforehand(self, index: int | None, sub: Submission) -> bool:
        """Answer what needs no course: a known business document, or a lot that changed since it was read."""
        if index is None:
            return False
        lot = self._lots.get(sub.event.subject)
        first = None if sub.business_key is None else self._documents.get(sub.business_key)
        if first is not None:
            detail = f"This business document was recorded before, as event {first}; nothing was changed."
            version = None if lot is None else lot.version
            self._answers[index] = notice(sub, "duplicate", 200, detail, self._around.now, version=version)
            self._repeats.append((index, sub))
            return True
        if sub.if_match is not None and (lot is None or sub.if_match not in (lot.version, ANY_VERSION)):
            version, state = (None, None) if lot is None else (lot.version, lot.state)
            detail = f"The lot is at version {version}, not at {sub.if_match}; read it again."
            if sub.if_match == ANY_VERSION:
                detail = f"There is no lot {sub.event.subject} yet, and If-Match asks for one."
            self._answers[index] = problem(sub, "precondition-failed", 412, detail, version=version, state=state)
            return True
        return False

    def _load(self, subs: Sequence[Submission]) -> None:
        statements, cursor = self._statements, self._cursor
        ids: set[str] = set()
        for sub in subs:
            ids.update(sub.touched)
        self._stored = writing.read_lots(cursor, statements, ids) if ids else {}
        self._lots = dict(self._stored)
        shipping = [s.event.subject for s in subs if isinstance(s.event, ev.LotShipped)]
        self._listeners = writing.read_subscriptions(cursor, statements)
        undelivered = writing.read_undelivered(cursor, statements, shipping) if shipping else {}
        self._around = self._surroundings(undelivered)
        self._load_results(self._stored.values())
        self._load_standing(subs)
        self._load_accounts(self._stored.values(), subs)
        self._about.clear()
        self._load_around(self._stored.values(), subs)

    def _load_standing(self, subs: Sequence[Submission]) -> None:
        """Read which holds stand on scopes, where a lot may come under one."""
        if self._standing_as_of is None and any(trigger_of(sub.event) in BRINGS for sub in subs):
            rows = writing.read_standing(self._cursor, self._statements)
            self._standing_as_of, self._around.standing = standing_of(rows)

    def is_overtaken(self) -> bool:
        """Did what stands on scopes change since this batch looked? Asked in the transaction that commits it."""
        if self._standing_as_of is None:
            return False
        return writing.read_scope_changes(self._cursor, self._statements) != self._standing_as_of

    def _load_accounts(self, lots: Iterable[Lot], subs: Sequence[Submission]) -> None:
        """Read what is used under the concessions that ``subs`` may use, or that ``lots`` are used by."""
        lots = list(lots)
        asked = {number for sub in subs for number in self._shared(sub)}
        numbers = asked | {lot.concession.number for lot in lots if lot.concession is not None}
        if not numbers:
            return
        self._looked |= asked
        # What counts of a lot is asked of every lot at hand: one may be put together with, or split off from, another.
        names = set(self._lots) | {lot.id for lot in lots}
        self._around.accounts.learn(
            read_accounts(self._cursor, self._statements, numbers, sorted(names), lock=self._alone)
        )

    def _shared(self, sub: Submission) -> tuple[str, ...]:
        """Concessions that ``sub`` may use: those it names, and those by which its record was, or is being, decided."""
        event = sub.event
        if not isinstance(event, ev.LotDispositioned | ev.UsageDecided) or event.data.record is None:
            return sub.concessions
        lot = self._lots.get(event.subject)
        named = [other.concessions for other in self.submissions if other.event.subject == event.subject]
        decided = () if lot is None else cited_by_records(lot)
        return tuple(dict.fromkeys((*sub.concessions, *decided, *(n for numbers in named for n in numbers))))

    def settle(self) -> None:
        """Write what is used under concessions, in the transaction that commits the batch. Raises Overtaken."""
        settle(self._cursor, self._statements, self._around.accounts, self._looked, self._around.now)

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
                self._results[lot.id] = results_in_force(lot, records.get(lot.results_from or lot.id, ()))

    def _load_around(self, lots: Iterable[Lot], subs: Sequence[Submission] = ()) -> None:
        """Read what is known and was counted of the lots' items and suppliers."""
        about = {(lot.item, lot.supplier) for lot in lots}
        for sub in subs:
            if isinstance(sub.event, ev.LotReceived | ev.LotProduced | ev.ProductionStarted):
                about.add((sub.event.data.item, getattr(sub.event.data, "supplier", None)))
        about -= self._about
        if not about:
            return
        self._about |= about
        around, every = self._around, self._about
        items, suppliers = {i for i, _ in every}, {s for _, s in every if s is not None}
        around.reference = Reference(read_reference(self._cursor, self._statements, items, suppliers))
        if KINDS & around.rulebook.kinds or around.reference.switches:
            around.tracks = read_tracks(self._cursor, self._statements, {pair_of(*one) for one in every})
        if around.reference.skips:
            around.secret = writing.read_sampling_secret(self._cursor, self._statements)

    def _run(self, waiting: list[tuple[int | None, Submission]]) -> Generator[list[Case], list[Judgement], list[str]]:
        """Run courses, in order per lot, judging together; gives what arrived: ``lot:…`` and ``hold:…|…``."""
        queues = Queues(waiting, lambda sub: tuple(concession_key(number) for number in self._shared(sub)))
        arrived: list[str] = []
        active: list[_Going] = []
        self._start_ready(queues, active, arrived)
        while active:
            judgements = yield [case for going in active for case in going.cases]
            going_on, active, at = active, [], 0
            for going in going_on:
                sent, at = judgements[at : at + len(going.cases)], at + len(going.cases)
                self._advance(going, sent, queues, active, arrived)
            self._start_ready(queues, active, arrived)
        if not queues.empty:
            raise AssertionError("events wait for each other")
        return arrived

    def _start_ready(self, queues: Queues, active: "list[_Going]", arrived: list[str]) -> None:
        while ready := queues.ready():
            for index, sub in ready:
                if self._settled_beforehand(index, sub):
                    queues.done(sub)
                    continue
                course = Course(sub, self._lots, self._results.get(sub.event.subject, []), self._around)
                course.loop = self._links.loop(sub)
                operation = sub.event.data.operation if isinstance(sub.event, ev.InspectionRecorded) else None
                if course.before is not None and operation is not None:
                    course.operation_results = self._in_process.of(course.before, operation)
                self._advance(_Going(index, course, course.run()), None, queues, active, arrived)

    def _advance(
        self, going: "_Going", judgements: list[Judgement] | None, queues: Queues, active: "list[_Going]",
        arrived: list[str],
    ) -> None:  # fmt: skip
        """Take a course to its next cases, or to its end."""
        index, course = going.index, going.course
        try:
            going.cases = next(going.way) if judgements is None else going.way.send(judgements)
            active.append(going)
            return
        except StopIteration:
            self._finish(index, course, arrived)
        except Exception:
            log.exception("event %s of %s failed alone", course.submission.event.id, course.submission.event.source)
            detail = "The event could not be decided; it was not kept. Its reference is in the log."
            if index is not None:
                self._answers[index] = problem(course.submission, "internal-error", 500, detail)
        queues.done(course.submission)

    def _finish(self, index: int | None, course: Course, arrived: list[str]) -> None:
        sub = course.submission
        self._lots.update(course.lots)
        if course.results:
            self._results[sub.event.subject] = course.results
        self._pass_results_on(course)
        if course.moves:
            self._around.accounts.apply(course.moves, {lot.id: lot.plant for lot in course.lots.values()})
        self._in_process.add(course.operation_records)
        if course.early is not None:
            self._parked[sub.key] = (index, course)
        else:
            self._parked.pop(sub.key, None)
            self._ran.append((index, course))
            if sub.business_key is not None and course.refusal is None and course.unchanged is None:
                self._documents[sub.business_key] = sub.key
        for entry in course.entries:
            self._note_family(entry)
            if entry.version == 1:
                arrived.append(f"lot:{entry.lot}")
            if entry.trigger == "hold" and isinstance(sub.event, ev.HoldApplied):
                arrived.append(f"hold:{entry.lot}|{sub.event.data.hold}")
            if entry.kind == "event" and isinstance(sub.event, ev.OperationReported):
                arrived += in_process.needs_met(entry.lot, sub.event.data)
        if index is not None:
            self._answers[index] = answer_of(course, self._routes)

    def _pass_results_on(self, course: Course) -> None:
        """Lots that were made of others in this batch have the results that stand for them."""
        for lot in course.lots.values():
            if lot.has_results and lot.id not in self._results:
                of = lot.parent or next(iter(lot.parts), lot.id)
                self._results[lot.id] = self._results.get(of, [])

    def _note_family(self, entry: Entry) -> None:
        links = links_of(entry)
        if links:
            self._link_rows += links
            self._links.add((link[4], link[5]) for link in links)
        spread = spread_of(entry)
        if spread is not None:
            self._spreading.append((*spread, entry.event_id))

    def _take_up(self, arrived: list[str]) -> list[tuple[int | None, Submission]]:
        """Events that waited for what has just arrived: of this batch, and parked earlier."""
        if not arrived:
            return []
        needs = set(arrived)
        taken: list[tuple[int | None, Submission]] = []
        for key, (index, course) in list(self._parked.items()):
            early = course.early
            if early is not None and early.waits_for in needs:
                del self._parked[key]
                taken.append((index, course.submission))
        for parked in writing.read_parked(self._cursor, self._statements, needs):
            if parked.key in self._unparked:
                continue
            self._unparked.append(parked.key)
            taken.append((None, submission(decode_event(parked.event.encode()), parked.principal)))
        missing = {i for _, sub in taken for i in sub.touched} - self._lots.keys()
        if missing:
            found = writing.read_lots(self._cursor, self._statements, missing)
            self._stored.update(found)
            self._lots.update(found)
            self._load_results(found.values())
            self._load_around(found.values(), [sub for _, sub in taken])
        self._load_standing([sub for _, sub in taken])
        self._load_accounts([self._lots[i] for i in missing if i in self._lots], [sub for _, sub in taken])
        return taken

    # -- writing -----------------------------------------------------------------------------------------------

    def rows(self, due: float) -> writing.Rows:
        """What the batch leaves, row by row; answers copies within the batch too. ``due``: seconds since 1970."""
        rows = writing.Rows()
        now = self._around.now
        told: dict[tuple[str, str], tuple[int, str]] = {}
        for index, course in self._ran:
            answer = answer_of(course, self._routes) if index is None else self._answers[index]
            self._event_row(rows, index, course.submission, answer, now)
            rows.journal += [journal_row(e) for e in course.entries]
            rows.results += course.records
            rows.escalations += [(kind, lot_id, text, now) for kind, lot_id, text in course.tasks]
            self._told(course, told)
        for index, sub in self._repeats:
            self._event_row(rows, index, sub, self._answers[index], now)
        self._parked_rows(rows, now, due)
        rows.links, rows.spreading = self._link_rows, self._spreading
        rows.unparked, rows.operation_results = self._unparked, self._in_process.recorded
        rows.deliveries = [
            (lot_id, version, target, payload, 0.0 if self._is_urgent(lot_id) else due, now)
            for (lot_id, target), (version, payload) in told.items()
        ]
        rows.deliveries += [
            (entry.lot, entry.version, identity, "{}", due, now)
            for identity, types in self._listeners
            for _, course in self._ran
            for entry in course.entries
            if not types or entry.type in types
        ]
        self._lot_rows(rows)
        rows.holds, rows.lifted = hold_rows(change for _, course in self._ran for change in course.hold_changes)
        self._answer_twins()
        return rows

    def _is_urgent(self, lot_id: str) -> bool:
        """News of a recalled lot, or of one of very many that are held, goes before everything else."""
        return any(hold.scope in _URGENT for hold in self._lots[lot_id].holds)

    def _told(self, course: Course, told: dict[tuple[str, str], tuple[int, str]]) -> None:
        """Add what ``course`` has to be told: the newest of the batch, by lot and target."""
        for (lot_id, target), status in course.telling.statuses(course.lots, self._routes).items():
            told[lot_id, target] = (status.version, encode_status(status).decode())

    def _event_row(self, rows: writing.Rows, index: int | None, sub: Submission, answer: Answer, now: str) -> None:
        text = answer.body.decode()
        if index is None:
            rows.answered.append((sub.key, answer.outcome, answer.status, answer.version, text))
            return
        event = sub.event
        rows.events.append(
            (sub.key, sub.business_key if answer.outcome == "applied" else None, event.source, event.id,
             str(event.__struct_config__.tag), event.subject, event.sequence, sub.digest, answer.outcome,
             answer.status, answer.version, text, sub.principal, now)
        )  # fmt: skip

    def _parked_rows(self, rows: writing.Rows, now: str, due: float) -> None:
        for index, course in self._parked.values():
            sub, early = course.submission, course.early
            if early is None:
                raise AssertionError("a parked course that is not early")
            if index is not None:
                self._event_row(rows, index, sub, self._answers[index], now)
            else:
                self._unparked.remove(sub.key)
            text = ev.encode_event(sub.event).decode()
            tell_at = None if early.tell_after_seconds is None else due + early.tell_after_seconds
            rows.parked.append((sub.key, sub.event.subject, early.waits_for, text, sub.principal, now,
                                due + PARKED_FOR_SECONDS, tell_at))  # fmt: skip

    def _lot_rows(self, rows: writing.Rows) -> None:
        for lot_id, lot in self._lots.items():
            before = self._stored.get(lot_id)
            if before is lot:
                continue
            rows.lots.append(lot_row(lot))
            known = before.records if before is not None else ()
            rows.quality_records += [record_row(lot_id, r) for r in lot.records if r not in known]

    def _answer_twins(self) -> None:
        """Copies of an event in the same batch get the first one's answer."""
        for index, first in self._twins.items():
            sub, original = self.submissions[index], self._answers[first]
            self._answers[index] = _again(
                sub, self.submissions[first].digest, original.status, original.body.decode(), original.version,
                original.outcome,
            )  # fmt: skip


def results_in_force(lot: Lot, records: Iterable[writing.Result]) -> list[Fact]:
    """Result facts of the lot's present inspection: records before a re-inspection do not count."""
    facts: list[Fact] = []
    for _, version, inspection, measurements in records:
        if lot.results_after < version <= lot.results_version:
            facts = with_results(facts, inspection, _decode_measurements(measurements))
    return facts


class _Going:
    """A course on its way, with the index of its submission and the cases it waits for."""

    __slots__ = ("cases", "course", "index", "way")

    def __init__(self, index: int | None, course: Course, way: Judging) -> None:
        self.index = index
        self.course = course
        self.way = way
        self.cases: list[Case] = []


def _again(sub: Submission, digest: str, status: int, answer: str, version: int | None, outcome: str) -> Answer:
    """The first answer once more, or the refusal of other content under the same identity."""
    if digest != sub.digest:
        detail = (
            f"Event {sub.event.id} of {sub.event.source} was already used for other content. "
            "A changed event needs an id of its own."
        )
        return problem(sub, "event-id-reused", 409, detail)
    status = 200 if status == 201 else status
    return Answer(status, answer.encode(), sub.key, sub.event.subject, version, True, outcome)

"""One batch on its way: what is known, the courses, and the rows they leave.

A batch decides in order per lot and judges together: every lot's first event runs until rules must judge, all cases
go to the judge at once, and so on. It reads through the committer's cursor (engine/at_hand.py) and writes nothing
itself.
"""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from engine import events as ev
from engine import in_process
from engine.answer import Answer, answer_of, notice, problem
from engine.at_hand import AtHand
from engine.course import Course
from engine.decoding import decode_event
from engine.effects import encode_status
from engine.genealogy import links_of, spread_of
from engine.journal import Entry
from engine.lineage import Links
from engine.operation_results import OperationResults
from engine.queues import Queues
from engine.routing import Routes
from engine.rows import hold_rows, journal_row, lot_row, record_row
from engine.store import writing
from engine.submission import ANY_VERSION, Submission, claims, concession_key, submission
from engine.surroundings import Surroundings
from rules.rulebook import Case, Judgement

log = logging.getLogger("lotgate.pipeline")

#: Scopes of holds that many lots get at once.
_URGENT = frozenset({"recall", "item", "supplier", "order", "filter"})
#: How long an event waits for what it depends on, before somebody is told.
PARKED_FOR_SECONDS = 7 * 24 * 3600.0
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
        self._hand = AtHand(submissions, cursor, statements, surroundings, alone=alone)
        self.submissions = submissions
        self._cursor = cursor
        self._statements = statements
        self._routes = routes
        self._answers: dict[int, Answer] = {}
        #: Courses that ran, in order, with the index of their submission (None: it was parked earlier).
        self._ran: list[tuple[int | None, Course]] = []
        self._parked: dict[str, tuple[int | None, Course]] = {}
        self._unparked: list[str] = []
        #: What events that waited lay claim to; one that still waits is met by what comes behind this batch.
        self._taken_up: set[str] = set()
        #: Copies within the batch, with the index of the first.
        self._twins: dict[int, int] = {}
        #: Events that only repeat a business document.
        self._repeats: list[tuple[int | None, Submission, Answer]] = []
        #: Business documents that this batch has applied, with their event key.
        self._documents: dict[str, str] = {}
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
        self._hand.load([self.submissions[i] for i in fresh])
        courses: list[tuple[int | None, Submission]] = [(i, self.submissions[i]) for i in fresh]
        courses += self._take_up(list(arrived))
        while courses:
            arrived = yield from self._run(courses)
            courses = []
            if self._is_waited_for(arrived):
                if not self._alone:
                    # What waited may be of lots that the batch before has locked: it has to land first.
                    yield []
                courses = self._take_up(arrived)

    def is_overtaken(self) -> bool:
        """Did what it was decided by change meanwhile? Asked in the transaction that commits it."""
        return self._hand.is_overtaken()

    def settle(self) -> None:
        """Write what is used under concessions, in the transaction that commits the batch. Raises Overtaken."""
        self._hand.settle()

    def touched(self) -> set[str]:
        """What the batch may change: ids of lots, event keys, business documents."""
        return set(self._hand.lots).union(self._taken_up, *(claims(sub) for sub in self.submissions))

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
        lot = self._hand.lots.get(sub.event.subject)
        first = None if sub.business_key is None else self._documents.get(sub.business_key)
        if first is not None:
            detail = f"This business document was recorded before, as event {first}; nothing was changed."
            version = None if lot is None else lot.version
            answer = notice(sub, "duplicate", 200, detail, self._hand.around.now, version=version)
            self._repeats.append((index, sub, answer))
            if index is not None:
                self._answers[index] = answer
            return True
        if index is None:
            return False
        if sub.if_match is not None and (lot is None or sub.if_match not in (lot.version, ANY_VERSION)):
            version, state = (None, None) if lot is None else (lot.version, lot.state)
            detail = f"The lot is at version {version}, not at {sub.if_match}; read it again."
            if sub.if_match == ANY_VERSION:
                detail = f"There is no lot {sub.event.subject} yet, and If-Match asks for one."
            self._answers[index] = problem(sub, "precondition-failed", 412, detail, version=version, state=state)
            return True
        return False

    def _run(self, waiting: list[tuple[int | None, Submission]]) -> Generator[list[Case], list[Judgement], list[str]]:
        """Run courses, in order per lot, judging together; gives what arrived: ``lot:…`` and ``hold:…|…``."""
        queues = Queues(waiting, lambda sub: tuple(concession_key(number) for number in self._hand.shared(sub)))
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
                course = Course(sub, self._hand.lots, self._hand.results.get(sub.event.subject, []), self._hand.around)
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
        self._hand.lots.update(course.lots)
        if course.results:
            self._hand.results[sub.event.subject] = course.results
        self._pass_results_on(course)
        if course.moves:
            self._hand.around.accounts.apply(course.moves, {lot.id: lot.plant for lot in course.lots.values()})
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
            if lot.has_results and lot.id not in self._hand.results:
                of = lot.parent or next(iter(lot.parts), lot.id)
                self._hand.results[lot.id] = self._hand.results.get(of, [])

    def _note_family(self, entry: Entry) -> None:
        links = links_of(entry)
        if links:
            self._link_rows += links
            self._links.add((link[4], link[5]) for link in links)
        spread = spread_of(entry)
        if spread is not None:
            self._spreading.append((*spread, entry.event_id))

    def _is_waited_for(self, arrived: list[str]) -> bool:
        """Did anything, of this batch or parked earlier, wait for what has just arrived?

        Nothing of a batch that has not landed did: it would claim the lot, and what arrives there would come behind it.
        """
        needs = set(arrived)
        if any(course.early is not None and course.early.waits_for in needs for _, course in self._parked.values()):
            return True
        return bool(needs and writing.read_parked(self._cursor, self._statements, needs))

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
        self._taken_up.update(*(claims(sub) for _, sub in taken))
        if documents := [sub.business_key for _, sub in taken if sub.business_key is not None]:
            # Two may have come early under ids of their own: one of them counts.
            known = writing.read_known(self._cursor, self._statements, [], documents)
            self._documents |= {k.business_key: k.key for k in known if k.business_key is not None}
        self._hand.load_more([sub for _, sub in taken])
        return taken

    # -- writing -----------------------------------------------------------------------------------------------

    def rows(self, due: float) -> writing.Rows:
        """What the batch leaves, row by row; answers copies within the batch too. ``due``: seconds since 1970."""
        rows = writing.Rows()
        now = self._hand.around.now
        told: dict[tuple[str, str], tuple[int, str]] = {}
        for index, course in self._ran:
            answer = answer_of(course, self._routes) if index is None else self._answers[index]
            self._event_row(rows, index, course.submission, answer, now)
            rows.journal += [journal_row(e) for e in course.entries]
            rows.results += course.records
            rows.escalations += [(kind, lot_id, text, now) for kind, lot_id, text in course.tasks]
            self._told(course, told)
        for index, sub, answer in self._repeats:
            self._event_row(rows, index, sub, answer, now)
        self._parked_rows(rows, now, due)
        rows.links, rows.spreading = self._link_rows, self._spreading
        rows.unparked, rows.operation_results = self._unparked, self._in_process.recorded
        rows.deliveries = [
            (lot_id, version, target, payload, 0.0 if self._is_urgent(lot_id) else due, now)
            for (lot_id, target), (version, payload) in told.items()
        ]
        rows.deliveries += [
            (entry.lot, entry.version, identity, "{}", due, now)
            for identity, types in self._hand.listeners
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
        return any(hold.scope in _URGENT for hold in self._hand.lots[lot_id].holds)

    def _told(self, course: Course, told: dict[tuple[str, str], tuple[int, str]]) -> None:
        """Add what ``course`` has to be told: the newest of the batch, by lot and target."""
        for (lot_id, target), status in course.telling.statuses(course.lots, self._routes).items():
            told[lot_id, target] = (status.version, encode_status(status).decode())

    def _event_row(self, rows: writing.Rows, index: int | None, sub: Submission, answer: Answer, now: str) -> None:
        text, document = answer.body.decode(), sub.business_key if answer.outcome == "applied" else None
        if index is None:
            rows.answered.append((sub.key, answer.outcome, answer.status, answer.version, text, document))
            return
        event = sub.event
        rows.events.append(
            (sub.key, document, event.source, event.id,
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
        for lot_id, lot in self._hand.lots.items():
            before = self._hand.stored.get(lot_id)
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

"""One event's way through the lifecycle: from what is known of the lot to journal entries and an answer.

A course is a generator: whenever rules must judge, it yields a list of :class:`rules.rulebook.Case` and is sent
their judgements; so the pipeline can judge the cases of a whole batch together, and the course itself touches
neither a database nor a clock. It works on copies: a course that fails leaves nothing behind.
"""

from collections.abc import Generator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from engine import by_plan, decide, stated
from engine import events as ev
from engine.consequences import CONSEQUENCE_TYPES, RECORDS, Completed, Opened, PlanAssigned, SplitOff
from engine.effects import disputed, must_be_told, same_words, status_for
from engine.evidence import Judged, ResultsUsed, asked_next, evidence, expected_lot, gate_detail, time_of
from engine.gather import Fact, Facts, event_fact, with_results
from engine.holds import HoldChange, changes_of
from engine.journal import GENESIS, Entry, entry_hash, step_of
from engine.lifecycle import ABSENT, Situation, allowed, follow, gate_of, is_fact
from engine.lot import Lot, evolve
from engine.parts import REGRADED, born, part_of
from engine.scopes import BRINGS, missing
from engine.submission import Submission
from engine.surroundings import BORN, Surroundings
from engine.telling import Telling
from rules.rulebook import Case, Judgement, Reaction, RuleVerdict

#: Source of everything that Lotgate itself writes.
OURSELVES = "lotgate"
#: Automatic steps one event may set off; a longer chain is a loop in the rules.
MAX_CONSEQUENCES = 16

#: What may complete an inspection, and what may open the release gate of an inspected lot.
_MAY_COMPLETE = frozenset({"record_inspection", "lift_hold", "state_fact", "record_certificate"})
_MAY_RELEASE = frozenset({"inspect", "dock_to_stock", "state_fact", "record_certificate"})
#: What a lot gets an inspection plan by, and of which kind.
_SETS_DAYS = BORN | {"open", "inspect"}
_PLAN_KINDS = {"receive": "incoming", "produce": "final", "retest_due": "retest"}

_encode = msgspec.json.Encoder().encode
Judging = Generator[list[Case], list[Judgement], None]
Taking = Generator[list[Case], list[Judgement], str | None]


class Course:
    """One submission's way; what became of it is in the attributes when :meth:`run` is exhausted."""

    __slots__ = (
        "_ahead", "_asked", "around", "before", "early", "entries", "hold_changes", "judged", "known", "loop", "lots",
        "records", "refusal", "results", "submission", "tasks", "telling", "trigger",
        "unchanged",
    )  # fmt: skip

    def __init__(
        self, submission: Submission, lots: Mapping[str, Lot], results: list[Fact], around: Surroundings
    ) -> None:
        self.submission = submission
        self.around = around
        subject = submission.event.subject
        #: Every lot that was loaded for the batch.
        self.known = lots
        self.before: Lot | None = lots.get(subject)
        #: Lots as this course leaves them, by id.
        self.lots: dict[str, Lot] = {} if self.before is None else {subject: self.before}
        #: Result facts of the lot's present inspection.
        self.results = results
        self.entries: list[Entry] = []
        #: (lot, version, inspection, measurements JSON) to be kept as results.
        self.records: list[tuple[str, int, str, str]] = []
        #: What became of the holds of lots, in order.
        self.hold_changes: list[HoldChange] = []
        self.judged: list[Judged] = []
        #: Judgements asked for ahead of their turn, by gate; used only if the facts turn out as expected.
        self._ahead: dict[str, tuple[Case, Judgement]] = {}
        self._asked = event_fact(submission.event, submission.principal)
        self.refusal: decide.Refusal | None = None
        self.early: decide.Early | None = None
        self.unchanged: decide.Unchanged | None = None
        #: The event would make a lot of itself.
        self.loop = False
        #: What targets must be told.
        self.telling = Telling()
        #: (kind, lot, text) of tasks that reactions opened.
        self.tasks: list[tuple[str, str, str]] = []
        self.trigger = decide.trigger_of(submission.event)

    @property
    def lot(self) -> Lot | None:
        """The subject as it stands now."""
        return self.lots.get(self.submission.event.subject)

    def run(self) -> Judging:
        """Decide. Yields cases to judge; everything else is left in the attributes."""
        event = self.submission.event
        if isinstance(event, ev.DeliveryRefused | ev.DeliveryAgreed):
            self._compensate(event)
            return
        if isinstance(event, ev.DeliveryDrifted):
            self._tell_again(event)
            return
        verdict = decide.admit(self.before, event)
        if isinstance(verdict, decide.Early):
            self.early = verdict
            return
        if isinstance(verdict, decide.Unchanged):
            self.unchanged = verdict
            return
        if verdict is not None:
            self._refuse(verdict)
            return
        yield from self._attempt()
        self._tell()

    def _compensate(self, event: ev.DeliveryRefused | ev.DeliveryAgreed) -> None:
        """A target refused, or agrees again: no rule has a say in that, and only those are told whom it concerns."""
        before = self.before
        same = decide.known_dispute(before, event)
        if before is None or same is not None:
            self.unchanged = same or decide.Unchanged("stale", f"There is no lot {event.subject}.")
            return
        self._event_entry(before.state, None)
        after = self.lots[before.id]
        # Who refuses itself is not told anew: its dead letter is what it has to take.
        refusing = {d.target for d in after.disputes}
        concerned = sorted((disputed(before) | disputed(after) | {event.data.target}) - refusing)
        changed = tuple(t for t in concerned if not same_words(status_for(before, t), status_for(after, t)))
        if changed:
            self.telling.tell(after, only=changed)

    def _tell_again(self, event: ev.DeliveryDrifted) -> None:
        """A target says something else than it agreed to: it is told the same under a new version."""
        before = self.before
        if before is None:
            self.unchanged = decide.Unchanged("stale", f"There is no lot {event.subject}.")
            return
        self._event_entry(before.state, None)
        self.telling.tell(self.lots[before.id], only=(event.data.target,))

    # -- the event itself --------------------------------------------------------------------------------------

    def _attempt(self) -> Judging:
        event, trigger, lot, around = self.submission.event, self.trigger, self.before, self.around
        undelivered = around.undelivered.get(event.subject, ())
        failing = decide.guards(lot, event, trigger, around.today, undelivered) + self._family_fails()
        state = ABSENT if lot is None else lot.state
        if trigger not in allowed(state) or (not failing and not self._possible(state, trigger)):
            self._refuse(decide.Refusal("transition-not-allowed", f"{trigger} is not possible while {state}."))
            return
        if isinstance(event, ev.FactStated) and lot is not None:
            problem = stated.problem_of(lot.facts, event.data, self.around.rulebook.vocabulary, stated.LOT_FIELDS)
            if problem is not None:
                self._refuse(decide.Refusal("fact-invalid", problem))
                return
        if trigger == "record_inspection":
            failing += self._add_results(lot)
        if isinstance(event, ev.CertificateRecorded) and lot is not None:
            failing += by_plan.certificate_fails(around, lot, self.results, event.data)
        plan = by_plan.changed(around, lot, event.data.plan) if lot and isinstance(event, ev.PlanChanged) else None
        if isinstance(plan, RuleVerdict):
            failing += (plan,)
        gate = gate_of(trigger)
        judgement = yield from self._judge(gate)
        fact = is_fact(trigger)
        reasons = (*failing, *self._gate_reasons(gate, judgement, fact))
        if trigger != "void_shipment" and reasons:
            self._refuse(decide.Refusal("gate-failed", gate_detail(gate, reasons), gate, reasons))
            return
        after = follow(state, trigger, decide.situation(lot, event, trigger, gate_open=not reasons))
        if after is None:
            self._refuse(decide.Refusal("transition-not-allowed", f"{trigger} is not possible while {state}."))
            return
        yield from self._carry_out(after, judgement, plan if isinstance(plan, PlanAssigned) else None)
        if trigger in BRINGS:
            self._place_standing()
        if judgement is not None and fact and trigger != "void_shipment":
            self._place_holds(judgement)
        yield from self._follow_ups()
        self._react()

    def _family_fails(self) -> tuple[RuleVerdict, ...]:
        there = tuple(decide.child_exists(child) for child in self.submission.made if child in self.known)
        return (*there, decide.own_ancestor(self.submission.event.subject)) if self.loop else there

    def _possible(self, state: str, trigger: str) -> bool:
        situations = (decide.situation(self.before, self.submission.event, trigger, o) for o in (True, False))
        return any(follow(state, trigger, situation) is not None for situation in situations)

    def _carry_out(self, after: str, judgement: Judgement | None, plan: PlanAssigned | None) -> Judging:
        event = self.submission.event
        if isinstance(event, ev.LotSplit):
            self._event_entry(after, judgement)
            for child in event.data.children:
                self._split_off(child.lot, child.quantity.value)
        elif (part := part_of(event, self.before)) is not None:
            self._take_a_part(*part, after, judgement)
        elif isinstance(event, ev.LotDispositioned) and event.data.decision == "regrade":
            self._regrade(event, after, judgement)
        else:
            self._event_entry(after, judgement)
            self._set_shelf_life()
            if plan is not None or self.trigger in _PLAN_KINDS:
                self._assign(plan, _PLAN_KINDS.get(self.trigger, ""))
        return
        yield  # a generator like its callers, so that a later step may judge

    def _event_entry(self, after: str, judgement: Judgement | None) -> None:
        sub = self.submission
        self._append(sub.event.subject, "event", self.trigger, str(sub.event.__struct_config__.tag), after,
                     sub.event.data, sub.data.decode(), judgement)  # type: ignore[attr-defined]  # fmt: skip
        if isinstance(sub.event, ev.InspectionRecorded):
            entry = self.entries[-1]
            text = _encode(sub.event.data.measurements).decode()
            self.records.append((entry.lot, entry.version, sub.event.data.inspection, text))

    def _set_shelf_life(self, trigger: str = "") -> None:
        """Give the lot the days that follow from reference data."""
        trigger = trigger or self.trigger
        days = self.around.shelf_life(self.lot, trigger, self.submission.event.time) if self.lot else None
        if days is not None and trigger in _SETS_DAYS:
            self._consequence("set_shelf_life", None, days)

    def _assign(self, plan: PlanAssigned | None, kind: str) -> None:
        """Give the lot ``plan``, or the plan of ``kind`` that fits it best."""
        lot = self.lot
        plan = plan if plan is not None or lot is None else by_plan.assigned(self.around, lot, kind)
        if plan is not None:
            self._consequence("assign_plan", None, plan)

    def _add_results(self, lot: Lot | None) -> tuple[RuleVerdict, ...]:
        """Take the results in; gives why they do not fit the lot's plan."""
        data: ev.Inspection = self.submission.event.data  # type: ignore[attr-defined]
        failing = () if lot is None else by_plan.off_plan(self.around, lot, self.results, data)
        self.results = with_results(self.results, data.inspection, data.measurements)
        return failing

    # -- lots that a lot makes ---------------------------------------------------------------------------------

    def _split_off(self, child: str, quantity: Decimal, **changes: Any) -> None:
        parent = self.lot
        if parent is None:
            raise AssertionError("a split without a parent")
        lot = born(parent, child, quantity, self.around.now, **changes)
        data = SplitOff(parent=parent.id, lot=msgspec.Raw(_encode(lot)))
        self._append(child, "consequence", "split_off", CONSEQUENCE_TYPES["split_off"], lot.state, data,
                     _encode(data).decode(), None)  # fmt: skip

    def _take_a_part(self, child: str, quantity: ev.Quantity, after: str, judgement: Judgement | None) -> None:
        """A part is split off, and what was asked for happens to it."""
        event, state = self.submission.event, self.lots[self.submission.event.subject].state
        split = ev.Split(children=[ev.Child(lot=child, quantity=quantity)])
        self._append(event.subject, "event", "split", CONSEQUENCE_TYPES["split"], state, split,
                     _encode(split).decode(), judgement)  # fmt: skip
        self._split_off(child, quantity.value)
        if isinstance(event, ev.HoldApplied):
            self._place(child, replace(event.data, quantity=None, child=None))
        elif isinstance(event, ev.LotShipped):
            self._append(child, "consequence", "ship", CONSEQUENCE_TYPES["ship"], after, event.data,
                         self.submission.data.decode(), None)  # fmt: skip

    def _regrade(self, event: ev.LotDispositioned, after: str, judgement: Judgement | None) -> None:
        data, lot = event.data, self.before
        if lot is None or data.item is None or data.revision is None or data.child is None:
            self._refuse(decide.Refusal("gate-failed", "A regrade names the new item, its revision and the child lot."))
            return
        self._event_entry(after, judgement)
        self._split_off(data.child, lot.quantity, item=data.item, revision=data.revision, **REGRADED)

    # -- what follows by itself --------------------------------------------------------------------------------

    def _follow_ups(self) -> Judging:
        """Take automatic steps until none is left; the chain is bounded."""
        cause = self.trigger
        for _ in range(MAX_CONSEQUENCES):
            lot = self.lot
            if lot is None or lot.closed is not None:
                return
            taken = yield from self._next_automatic(lot, cause)
            if taken is None:
                return
            cause = taken

    def _next_automatic(self, lot: Lot, cause: str) -> Taking:
        if lot.state == "received":
            return (yield from self._leave_receiving())
        if lot.state == "quarantined" and lot.has_results and cause in _MAY_COMPLETE:
            return (yield from self._complete_inspection())
        if lot.state == "inspected" and cause in _MAY_RELEASE:
            return (yield from self._screen())
        return None

    def _leave_receiving(self) -> Taking:
        if "dock_to_stock" in self.around.rulebook.gates():
            judgement = yield from self._judge("dock_to_stock")
            if judgement is not None and judgement.opens:
                return self._consequence("dock_to_stock", judgement)
        judgement = yield from self._judge(gate_of("quarantine"))
        self._consequence("quarantine", judgement)
        if judgement is not None:
            self._place_holds(judgement)
        return "quarantine"

    def _complete_inspection(self) -> Taking:
        done = None if self.lot is None else by_plan.completed(self.around, self.lot, self.results)
        if done is None:
            return None
        judgement = yield from self._judge(gate_of("inspect"))
        if judgement is not None and not judgement.opens:
            return None
        taken = self._consequence("inspect", judgement, done)
        self._set_shelf_life("inspect")
        return taken

    def _screen(self) -> Taking:
        """A lot has just become inspected: reject it, release it where a reaction says so, or leave it to people."""
        if self.lot is not None and self.lot.sample is not None and not self.lot.sample.accepted:
            return self._consequence("reject", None, Completed(rules=[decide.SAMPLE_ACCEPTED]))
        judgement = yield from self._judge("release")
        if judgement is None:
            return None
        rejecting = decide.rejecting(judgement) if judgement.agreed else ()
        if rejecting:
            return self._consequence("reject", judgement, Completed(rules=list(rejecting)))
        if self.trigger == "lift_hold" or not judgement.opens or not self._reaction("release", "inspected"):
            return None
        lot = self.lot
        if lot is None or decide.is_expired(lot, self.around.today):
            return None
        return self._consequence("release", judgement, ev.Release())

    def _reaction(self, do: str, after: str) -> bool:
        facts = self.judged[-1].case.facts
        reactions = self.around.rulebook.reactions(after, facts, self.around.today)
        return any(reaction.do == do for reaction in reactions)

    def _react(self) -> None:
        """Do what reactions ask for after the states that the lot came into; each reaction acts once."""
        done: set[str] = set()
        at = 0
        while at < len(self.entries):
            entry, at = self.entries[at], at + 1
            lot = self.lot
            if lot is None or entry.lot != lot.id or entry.state_after == entry.state_before:
                continue
            for reaction in self.around.rulebook.reactions(entry.state_after, self._facts(), self.around.today):
                if reaction.do != "release" and reaction.id not in done:
                    done.add(reaction.id)
                    self._do(reaction, lot.id)

    def _do(self, reaction: Reaction, lot_id: str) -> None:
        if reaction.do == "hold":
            self._place_hold(reaction.id, reaction.message)
            return
        if reaction.do == "change_sampling":
            changed = by_plan.sampling_changed(reaction)
            self._consequence("change_sampling", None, changed)
            return
        type_, kind = RECORDS[reaction.do]
        data = Opened(f"{kind}/{len(self.tasks) + 1}@{self.lots[lot_id].version + 1}", reaction.id, reaction.message)
        self._append(lot_id, "consequence", "open_record", type_, self.lots[lot_id].state, data,
                     _encode(data).decode(), None)  # fmt: skip
        self.tasks.append((kind, lot_id, f"{reaction.message} [{reaction.id}]"))

    def _consequence(self, trigger: str, judgement: Judgement | None, data: ev.Closed | None = None) -> str | None:
        lot = self.lot
        if lot is None:
            raise AssertionError("a consequence without a lot")
        after = follow(lot.state, trigger, Situation())
        if after is None:
            return None
        data = Completed() if data is None else data
        self._append(lot.id, "consequence", trigger, CONSEQUENCE_TYPES[trigger], after, data,
                     _encode(data).decode(), judgement)  # fmt: skip
        return trigger

    def _place_holds(self, judgement: Judgement) -> None:
        for verdict in decide.holds_to_place(judgement):
            self._place_hold(verdict.rule, verdict.message)

    def _place_hold(self, rule: str, message: str) -> None:
        lot = self.lot
        if lot is None:
            raise AssertionError("a hold without a lot")
        name = f"rule:{rule}"
        if any(h.hold == name for h in lot.holds):
            return
        reason = ev.Reason(code=rule[:64], text=message[:500])
        self._place(lot.id, ev.HoldOrder(hold=name, reason=reason, owner=OURSELVES))

    def _place_standing(self) -> None:
        """A hold on a scope lands on whatever comes under it."""
        for lot_id, lot in list(self.lots.items()):
            for data in missing(self.around.standing, lot):
                self._place(lot_id, data)

    def _place(self, lot_id: str, data: ev.HoldOrder) -> None:
        state = self.lots[lot_id].state
        after = follow(state, "hold", Situation())
        if after is None:
            raise AssertionError(f"a hold did not land on a lot that is {state}")
        self._append(lot_id, "consequence", "hold", CONSEQUENCE_TYPES["hold"], after, data,
                     _encode(data).decode(), None)  # fmt: skip

    # -- judging and writing -----------------------------------------------------------------------------------

    def _judge(self, gate: str | None) -> Generator[list[Case], list[Judgement], Judgement | None]:
        if gate is None or gate not in self.around.rulebook.gates():
            return None
        facts = self._facts()
        ahead = self._ahead.pop(gate, None)
        if ahead is not None and ahead[0].facts == facts:
            case, judgement = ahead
        else:
            case = Case(gate, facts, self.around.today)
            wanted = [case, *(c for c in asked_next(case) if c.gate in self.around.rulebook.gates())]
            judgements = yield wanted
            judgement = judgements[0]
            for other, early in zip(wanted[1:], judgements[1:], strict=True):
                self._ahead[other.gate] = (other, early)
        self.judged.append(Judged(case, judgement, self._results_used()))
        return judgement

    def _facts(self) -> Facts:
        around = self.around
        event = self.submission.event
        lot = self.lot or around.expected(expected_lot(event, around.now), event.time)
        return around.facts(lot, self._asked, self.results)

    def _results_used(self) -> ResultsUsed | None:
        lot = self.lot
        if lot is None or not self.results:
            return None
        upto = lot.results_version
        if self.trigger == "record_inspection" and not self.entries:
            upto = lot.version + 1  # the entry that this judgement lets in
        return ResultsUsed(lot.results_from or lot.id, lot.results_after, upto)

    def _gate_reasons(self, gate: str | None, judgement: Judgement | None, fact: bool) -> tuple[RuleVerdict, ...]:
        if judgement is None:
            return (decide.unguarded(gate),) if gate in decide.MUST_BE_GUARDED else ()
        if self.trigger == "void_shipment":
            return decide.refusing(judgement, fact=False)
        return decide.refusing(judgement, fact)

    def _refuse(self, refusal: decide.Refusal) -> None:
        self.refusal = refusal
        lot = self.before
        if lot is None:
            return
        sub = self.submission
        judgement = self.judged[-1].judgement if self.judged else None
        builtin = tuple(v for v in refusal.rules if v.file == decide.BUILT_IN)
        waited = any(v.rule == decide.TARGETS_AGREE for v in builtin)
        undelivered = self.around.undelivered.get(lot.id, ()) if waited else ()
        self._append(lot.id, "refusal", self.trigger, str(sub.event.__struct_config__.tag), lot.state,
                     sub.event.data, sub.data.decode(), judgement, builtin, undelivered)  # type: ignore[attr-defined]  # fmt: skip

    def _append(
        self, lot_id: str, kind: str, trigger: str, type_: str, after: str, data: Any, text: str,
        judgement: Judgement | None, builtin: tuple[RuleVerdict, ...] = (), undelivered: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        event, around = self.submission.event, self.around
        lot = self.lots.get(lot_id)
        own = kind != "consequence"
        version = 1 if lot is None else lot.version + 1
        sequence = event.sequence if kind == "event" else None
        entry = Entry(
            lot_id, version, kind, trigger, type_,
            event.source if own else OURSELVES,
            event.id if own else f"{self.submission.key}/{len(self.entries) + 1}",
            time_of(event),
            around.now, self.submission.principal, event.correlationid,
            event.causationid if own else event.id,
            event.traceparent,
            ABSENT if lot is None else lot.state, after, around.rulebook.digest, text,
            evidence(self.judged, judgement, builtin, sequence, undelivered),
            GENESIS if lot is None else lot.head,
        )  # fmt: skip
        entry = replace(entry, hash=entry_hash(entry))
        self.entries.append(entry)
        evolved = evolve(lot, step_of(entry, data, sequence))
        if evolved is None:
            return
        self.lots[lot_id] = evolved
        held = () if lot is None else lot.holds
        if evolved.holds is not held:
            self.hold_changes += changes_of(lot_id, version, around.now, held, evolved.holds)

    def _tell(self) -> None:
        for lot_id, lot in self.lots.items():
            before = self.before if lot_id == self.submission.event.subject else None
            if must_be_told(before, lot):
                self.telling.tell(lot)

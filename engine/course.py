"""One event's way through the lifecycle: from what is known of the lot to journal entries and an answer.

A course is a generator: whenever rules must judge, it yields a list of :class:`rules.rulebook.Case` and is sent
their judgements; so the pipeline can judge the cases of a whole batch together, and the course itself touches
neither a database nor a clock. It works on copies: a course that fails leaves nothing behind.
"""

from collections.abc import Generator, Mapping

import msgspec

from engine import by_plan, decide, in_process, parts, production, stated, usage
from engine import events as ev
from engine.builtin import BUILT_IN
from engine.consequences import RECORDS, Completed, Opened, PlanAssigned
from engine.effects import disputed, must_be_told, same_words, status_for
from engine.evidence import Judged, ResultsUsed, expected_lot, gate_detail
from engine.gather import Fact, Facts, event_fact, with_results
from engine.lifecycle import ABSENT, Situation, allowed, follow, gate_of, is_fact
from engine.lot import Lot
from engine.producing import Producing
from engine.scopes import BRINGS
from engine.submission import Submission, lots_of_parts
from engine.surroundings import BORN, Surroundings
from engine.telling import Telling
from rules.rulebook import Case, Judgement, Reaction, RuleVerdict

#: Automatic steps one event may set off; a longer chain is a loop in the rules.
MAX_CONSEQUENCES = 16

#: What may complete an inspection, and what may open the release gate of an inspected lot.
_MAY_COMPLETE = frozenset({"record_inspection", "lift_hold", "state_fact", "record_certificate"})
_MAY_RELEASE = frozenset({"inspect", "dock_to_stock", "state_fact", "record_certificate"})
#: What a lot gets days of its shelf life by.
_SETS_DAYS = BORN | {"open", "inspect"}
#: What a lot gets an inspection plan by, and of which kind.
_PLAN_KINDS = {"receive": "incoming", "produce": "final", "retest_due": "retest"}

_encode = msgspec.json.Encoder().encode
Judging = Generator[list[Case], list[Judgement], None]
Taking = Generator[list[Case], list[Judgement], str | None]


class Course(Producing):
    """One submission's way; what became of it is in the attributes when :meth:`run` is exhausted."""

    __slots__ = ("_ahead", "_asked", "early", "loop", "refusal", "results", "telling", "unchanged")

    def __init__(
        self, submission: Submission, lots: Mapping[str, Lot], results: list[Fact], around: Surroundings
    ) -> None:
        super().__init__(submission, lots, around)
        #: Result facts of the lot's present inspection.
        self.results = results
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
        verdict = verdict or parts.waits_for(event, self.known)
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
        self.event_entry(before.state, None)
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
        self.event_entry(before.state, None)
        self.telling.tell(self.lots[before.id], only=(event.data.target,))

    # -- the event itself --------------------------------------------------------------------------------------

    def _attempt(self) -> Judging:
        event, trigger, lot, around = self.submission.event, self.trigger, self.before, self.around
        undelivered = around.undelivered.get(event.subject, ())
        failing = decide.guards(lot, event, trigger, around.today, undelivered, around.accounts)
        failing += self._family_fails()
        state = ABSENT if lot is None else lot.state
        open_to = allowed(state, lot is not None and lot.in_production)
        if trigger not in open_to or (not failing and not self._possible(state, trigger)):
            self._refuse(decide.Refusal("transition-not-allowed", f"{trigger} is not possible while {state}."))
            return
        if isinstance(event, ev.FactStated) and lot is not None:
            problem = stated.problem_of(lot.facts, event.data, self.around.rulebook.vocabulary, stated.LOT_FIELDS)
            if problem is not None:
                self._refuse(decide.Refusal("fact-invalid", problem))
                return
        if trigger == "record_inspection":
            failing += self._add_results(lot)
        in_process_results = event.data if trigger == "inspect_operation" else None  # type: ignore[attr-defined]
        if in_process_results is not None and lot is not None:
            failing += self.results_fail(lot, in_process_results)
        report = event.data if isinstance(event, ev.OperationReported) else None
        if report is not None and lot is not None:
            failing += in_process.guards(around, lot, report)
            failing += yield from self._may_begin(lot, report)
        if isinstance(event, ev.CertificateRecorded) and lot is not None:
            failing += by_plan.certificate_fails(around, lot, self.results, event.data)
        plan = by_plan.changed(around, lot, event.data.plan) if lot and isinstance(event, ev.PlanChanged) else None
        if isinstance(plan, RuleVerdict):
            failing += (plan,)
        gate = gate_of(trigger)
        judgement = yield from self._judge(gate)
        fact = is_fact(trigger)
        # What was measured at an operation is never refused: it opens a deviation.
        failing += yield from self._parts_fail(lot)
        by_rules = () if trigger == "report_operation" else self._gate_reasons(gate, judgement, fact)
        reasons = (*failing, *by_rules)
        if trigger != "void_shipment" and reasons:
            self._refuse(decide.Refusal("gate-failed", gate_detail(gate, reasons), gate, reasons))
            return
        after = follow(state, trigger, self._situation(gate_open=not reasons))
        if after is None:
            self._refuse(decide.Refusal("transition-not-allowed", f"{trigger} is not possible while {state}."))
            return
        yield from self._carry_out(after, judgement, plan if isinstance(plan, PlanAssigned) else None)
        if trigger in BRINGS:
            self.place_standing()
        if report is not None and lot is not None and in_process.begins(lot, report):
            self.plan_inspection(report.operation)
        if report is not None and lot is not None and trigger == "report_operation":
            self.open_breaches(lot, report, judgement)
        if in_process_results is not None and lot is not None:
            self.judge_results(lot, in_process_results)
        if judgement is not None and fact and trigger != "void_shipment":
            self.place_holds(judgement)
        yield from self._follow_ups()
        self._react()

    def _situation(self, gate_open: bool) -> Situation:
        event = self.submission.event
        if isinstance(event, ev.LotMerged):
            return parts.situation(event, self.known)
        return decide.situation(self.before, event, self.trigger, gate_open)

    def _may_begin(
        self, lot: Lot, report: ev.OperationReport
    ) -> Generator[list[Case], list[Judgement], tuple[RuleVerdict, ...]]:
        """Of an operation that is reported as completed without a start: what rules say of its start."""
        if self.trigger == "start_operation" or not in_process.begins(lot, report):
            return ()
        judgement = yield from self._judge("start_operation")
        return () if judgement is None else decide.refusing(judgement, fact=False)

    def _family_fails(self) -> tuple[RuleVerdict, ...]:
        there = tuple(decide.child_exists(child) for child in self.submission.made if child in self.known)
        there += parts.guards(self.submission.event, self.known)
        return (*there, decide.own_ancestor(self.submission.event.subject)) if self.loop else there

    def _possible(self, state: str, trigger: str) -> bool:
        return any(follow(state, trigger, self._situation(gate_open)) is not None for gate_open in (True, False))

    def _carry_out(self, after: str, judgement: Judgement | None, plan: PlanAssigned | None) -> Judging:
        event = self.submission.event
        if isinstance(event, ev.LotSplit):
            self.event_entry(after, judgement)
            for child in event.data.children:
                self.split_off(child.lot, child.quantity.value)
        elif isinstance(event, ev.LotRepacked):
            self.repack(event.data, after)
        elif isinstance(event, ev.LotMerged):
            self.merge(event, after)
            if after == "quarantined":
                self._assign(None, "incoming" if self.lots[event.subject].supplier is not None else "final")
        elif isinstance(event, ev.UsageDecided):
            self.decide_parts(event, after)
        elif (part := parts.part_of(event, self.before)) is not None:
            self.take_a_part(*part, after, judgement)
        elif isinstance(event, ev.LotDispositioned) and event.data.decision == "regrade":
            self._regrade(event, after, judgement)
        else:
            self.event_entry(after, judgement)
            self._set_shelf_life()
            if plan is not None or self.trigger in _PLAN_KINDS:
                self._assign(plan, _PLAN_KINDS.get(self.trigger, ""))
            if self.trigger in ("start_production", "produce"):
                self.assign_routing()
        return
        yield  # a generator like its callers, so that a later step may judge

    def _set_shelf_life(self, trigger: str = "") -> None:
        """Give the lot the days that follow from reference data."""
        trigger = trigger or self.trigger
        days = self.around.shelf_life(self.lot, trigger, self.submission.event.time) if self.lot else None
        if days is not None and trigger in _SETS_DAYS:
            self.consequence("set_shelf_life", None, days)

    def _assign(self, plan: PlanAssigned | None, kind: str) -> None:
        """Give the lot ``plan``, or the plan of ``kind`` that fits it best."""
        lot = self.lot
        if plan is None and lot is not None:
            plan = by_plan.assigned(self.around, lot, kind, arriving=self.trigger == "receive")
        if plan is not None:
            self.consequence("assign_plan", None, plan)

    def _add_results(self, lot: Lot | None) -> tuple[RuleVerdict, ...]:
        """Take the results in; gives why they do not fit the lot's plan."""
        data: ev.Inspection = self.submission.event.data  # type: ignore[attr-defined]
        failing = () if lot is None else by_plan.off_plan(self.around, lot, self.results, data)
        self.results = with_results(self.results, data.inspection, data.measurements)
        return failing

    # -- lots that a lot makes ---------------------------------------------------------------------------------

    def _regrade(self, event: ev.LotDispositioned, after: str, judgement: Judgement | None) -> None:
        data, lot = event.data, self.before
        if lot is None or data.item is None or data.revision is None or data.child is None:
            self._refuse(decide.Refusal("gate-failed", "A regrade names the new item, its revision and the child lot."))
            return
        if (data.item, data.revision) == (lot.item, lot.revision):
            words = f"A regrade makes it another item or revision, and it is {lot.item} {lot.revision} already."
            self._refuse(decide.Refusal("gate-failed", words))
            return
        self.event_entry(after, judgement)
        self.split_off(data.child, lot.quantity, **parts.regraded(lot, data.item, data.revision))

    def _parts_fail(self, lot: Lot | None) -> Generator[list[Case], list[Judgement], tuple[RuleVerdict, ...]]:
        """Of a usage decision: why a part cannot become what is decided of it. All of them, or none is carried out."""
        event = self.submission.event
        if lot is None or not isinstance(event, ev.UsageDecided):
            return ()
        if usage.guards(lot, event, self.around.today, self.around.accounts):
            return ()
        found: list[RuleVerdict] = []
        for name, part in zip(lots_of_parts(event), event.data.parts, strict=True):
            if part.decision == "block" or (part.decision, lot.state) == ("release", "released"):
                continue
            child = usage.part_as_lot(lot, name, event.data, part)
            gate = gate_of(part.decision)
            judgement = yield from self._judge(gate, child)
            self.parts_judged[name] = judgement
            reasons = (*decide.standing(child, part.decision, self.around.today),
                       *self._gate_reasons(gate, judgement, fact=False))  # fmt: skip
            found += [usage.about_part(one, name, part) for one in reasons]
        return tuple(found)

    # -- what follows by itself --------------------------------------------------------------------------------

    def _follow_ups(self) -> Judging:
        """Take automatic steps until none is left; the chain is bounded."""
        cause = self.trigger
        for _ in range(MAX_CONSEQUENCES):
            lot = self.lot
            if lot is None or lot.closed is not None or lot.in_production:
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
        skip = None if self.lot is None or self.lot.plan is None else self.lot.plan.skip
        if skip is None or skip.skipped:
            # What chance has chosen for inspection is inspected, whatever rules say.
            judgement = yield from self._judge("dock_to_stock")
            opens = skip is not None if judgement is None else judgement.opens
            if opens:
                return self.consequence("dock_to_stock", judgement)
        judgement = yield from self._judge(gate_of("quarantine"))
        self.consequence("quarantine", judgement)
        if judgement is not None:
            self.place_holds(judgement)
        return "quarantine"

    def _complete_inspection(self) -> Taking:
        done = None if self.lot is None else by_plan.completed(self.around, self.lot, self.results)
        if done is None:
            return None
        judgement = yield from self._judge(gate_of("inspect"))
        if judgement is not None and not judgement.opens:
            return None
        taken = self.consequence("inspect", judgement, done)
        self._set_shelf_life("inspect")
        return taken

    def _screen(self) -> Taking:
        """A lot has just become inspected: reject it, release it where a reaction says so, or leave it to people."""
        if self.lot is not None and self.lot.sample is not None and not self.lot.sample.accepted:
            return self.consequence("reject", None, Completed(rules=[decide.SAMPLE_ACCEPTED]))
        judgement = yield from self._judge("release")
        if judgement is None:
            return None
        rejecting = decide.rejecting(judgement) if judgement.agreed else ()
        if rejecting:
            return self.consequence("reject", judgement, Completed(rules=list(rejecting)))
        if self.trigger == "lift_hold" or not judgement.opens or not self._reaction("release", "inspected"):
            return None
        lot = self.lot
        if lot is None or decide.standing(lot, "release", self.around.today):
            return None
        return self.consequence("release", judgement, ev.Release())

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
            self.place_hold(reaction.id, reaction.message)
            return
        if reaction.do == "change_sampling":
            changed = by_plan.sampling_changed(reaction)
            self.consequence("change_sampling", None, changed)
            return
        type_, kind = RECORDS[reaction.do]
        data = Opened(f"{kind}/{len(self.tasks) + 1}@{self.lots[lot_id].version + 1}", reaction.id, reaction.message)
        self.append(lot_id, "consequence", "open_record", type_, self.lots[lot_id].state, data,
                     _encode(data).decode(), None)  # fmt: skip
        self.tasks.append((kind, lot_id, f"{reaction.message} [{reaction.id}]"))

    # -- judging and writing -----------------------------------------------------------------------------------

    def _judge(
        self, gate: str | None, lot: Lot | None = None
    ) -> Generator[list[Case], list[Judgement], Judgement | None]:
        """Judge the subject, or ``lot`` in its place."""
        if gate is None or gate not in self.around.rulebook.gates():
            return None
        facts = self._facts(gate) if lot is None else self.around.facts(lot, self._asked, self.results)
        ahead = self._ahead.pop(gate, None)
        if ahead is not None and ahead[0].facts == facts:
            case, judgement = ahead
        else:
            case = Case(gate, facts, self.around.today)
            wanted = [case, *self.around.ahead(gate, facts)]
            judgements = yield wanted
            judgement = judgements[0]
            for other, early in zip(wanted[1:], judgements[1:], strict=True):
                self._ahead[other.gate] = (other, early)
        self.judged.append(Judged(case, judgement, self._results_used()))
        return judgement

    def _facts(self, gate: str | None = None) -> Facts:
        around, event = self.around, self.submission.event
        lot = self.lot or around.expected(expected_lot(event, around.now), event.time)
        run = None
        if gate == "operation" and isinstance(event, ev.OperationReported):
            run = production.reported(lot.operations, event.data, lot.version + 1, around.now)[-1]
        facts = around.facts(lot, self._asked, self.results, run)
        if gate == "inspect_operation" and "operation_result" in around.rulebook.kinds:
            facts["operation_result"] = self.result_lines()
        return facts

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
        builtin = tuple(v for v in refusal.rules if v.file == BUILT_IN)
        waited = any(v.rule == decide.TARGETS_AGREE for v in builtin)
        undelivered = self.around.undelivered.get(lot.id, ()) if waited else ()
        self.append(lot.id, "refusal", self.trigger, str(sub.event.__struct_config__.tag), lot.state,
                     sub.event.data, sub.data.decode(), judgement, builtin, undelivered)  # type: ignore[attr-defined]  # fmt: skip

    def _tell(self) -> None:
        for lot_id, lot in self.lots.items():
            if must_be_told(self.known.get(lot_id), lot):
                self.telling.tell(lot)

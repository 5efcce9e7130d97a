"""What a decision knows besides its lot: the day, the rules in force, and what the store says around the lot. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo

from msgspec import Struct, field

from engine import events as ev
from engine import inspection_plan, plan_facts, shelf_life, supplier_certificates, tracks
from engine.concessions import Accounts
from engine.gather import Fact, Facts, gather
from engine.inspection_plan import Arrival, InspectionPlan
from engine.known import Known, Reference
from engine.lot import Lot
from engine.operation_inspection import inspection_facts
from engine.production import OperationRun, charted_facts, operation_facts
from engine.quality.skip_lot import draw
from engine.records import AssignedPlan
from engine.scopes import Standing
from engine.shelf_life import Applied
from engine.tracks import Track, card_of, pair_of, track_facts
from rules.rulebook import Case, RuleBook

#: Triggers that bring a lot.
BORN = frozenset({"receive", "produce"})


class Surroundings(Struct):
    """What a course knows besides its lot."""

    #: Instant of the decision, as text.
    now: str
    #: Ordinal of the plant's calendar day.
    today: int
    rulebook: RuleBook
    #: Targets whose acknowledgement of the lot's present status is outstanding, by lot.
    undelivered: Mapping[str, tuple[str, ...]] = {}
    #: What was counted, by item and supplier (engine/track_record.py); only where somebody looks at it.
    tracks: Mapping[str, Track] = {}
    #: Reference data about the items and suppliers of the lots.
    reference: Reference = Reference()
    #: What chance is made of where lots are skipped; empty: nothing is skipped.
    secret: bytes = b""
    #: Holds that stand on scopes; only where a lot may come under one.
    standing: Sequence[Standing] = ()
    #: Of the plant.
    timezone: tzinfo = UTC
    #: What is used under the concessions that the batch is about, after all that it has decided so far.
    accounts: Accounts = field(default_factory=Accounts)

    def day_of(self, moment: datetime | None) -> date:
        """The plant's calendar day on which something happened; today, where nobody says or it would be later."""
        today = date.fromordinal(self.today)
        return today if moment is None else min(moment.astimezone(self.timezone).date(), today)

    def lasting(self, lot: Lot, day: date) -> Applied | None:
        """What says how long ``lot`` lasts, in force on ``day``."""
        return self.reference.shelf_life_of(lot.item, lot.revision, lot.supplier, day.isoformat())

    def shelf_life(self, lot: Lot, trigger: str, moment: datetime | None) -> ev.ComputedShelfLife | None:
        """The days that ``lot`` gets by what just happened."""
        day = self.day_of(moment)
        if trigger in BORN:
            return shelf_life.at_birth(lot, day, self.lasting(lot, day))
        if trigger == "open" and lot.opened_on is not None:
            return shelf_life.after_opening(lot, self.lasting(lot, lot.opened_on))
        today = self.day_of(None)
        return shelf_life.after_retest(lot, today, self.lasting(lot, today))

    def expected(self, lot: Lot, moment: datetime | None) -> Lot:
        """A lot that comes in as it will be, for the gate that lets it in."""
        day = self.day_of(moment)
        return shelf_life.expected(lot, day, self.lasting(lot, day))

    @property
    def day(self) -> str:
        """The plant's calendar day, as text."""
        return date.fromordinal(self.today).isoformat()

    def facts(
        self, lot: Lot, event: Fact | None, results: list[Fact], reported: OperationRun | None = None
    ) -> Facts:  # fmt: skip
        """Everything that rules may look at. ``reported``: an operation whose report is judged, and no other."""
        more: Facts = {} if reported is None else {"parameter": []} | operation_facts((reported,))
        kinds = self.rulebook.kinds
        if kinds & tracks.KINDS:
            measured = results if reported is None else charted_facts(reported)
            more |= track_facts(self._track(lot), lot, measured, kinds & tracks.KINDS)
        if lot.plan is not None and kinds & plan_facts.KINDS:
            plan = self.reference.plan(lot.plan.plan, lot.plan.revision)
            more |= plan_facts.plan_facts(plan, lot.plan, results, kinds & plan_facts.KINDS)
        if lot.operation_inspections and "operation_inspection" in kinds:
            more["operation_inspection"] = inspection_facts(lot, self.now)
        known = self.reference.stated(lot.item, lot.supplier, self.day)
        facts = gather(lot, event, results, self.today, self.rulebook.vocabulary, more, known)
        if lot.certificates:
            planned = self.plan_of(lot)
            own = supplier_certificates.facts(
                lot.certificates, lot.id, None if planned is None else planned[0], results, self.rulebook.vocabulary
            )
            facts |= {kind: [*lines, *facts.get(kind, [])] for kind, lines in own.items()}
        return facts

    def ahead(self, gate: str, facts: Facts) -> list[Case]:
        """Gates that will be asked next if all goes well, so that a batch makes one trip to the judge, not three."""
        if gate != "record_inspection" or facts["lot"][0]["state"] != "quarantined":
            return []
        after = facts["lot"][0] | {"state": "inspected", "inspection_complete": True}
        gates = self.rulebook.gates()
        cases = [Case("inspect", facts, self.today), Case("release", facts | {"lot": [after]}, self.today)]
        return [case for case in cases if case.gate in gates]

    def plan_of(self, lot: Lot) -> tuple[InspectionPlan, AssignedPlan] | None:
        """The plan that the lot is inspected by; None: there is none."""
        return None if lot.plan is None else (self.reference.plan(lot.plan.plan, lot.plan.revision), lot.plan)

    def assign(self, lot: Lot, known: Known, plan: InspectionPlan, *, arriving: bool = False) -> AssignedPlan:
        """``plan`` for ``lot``, with the sample that its size and its supplier's record ask for."""
        card, arrival = card_of(self._track(lot).card), None
        if arriving and self.secret:
            arrival = Arrival(self.now, draw(self.secret, pair_of(lot.item, lot.supplier), lot.id))
        return inspection_plan.assign(known.key, known.revision, plan, lot.quantity, card, arrival)

    def _track(self, lot: Lot) -> Track:
        return self.tracks.get(pair_of(lot.item, lot.supplier), Track())

"""What a decision knows besides its lot: the day, the rules in force, and what the store says around the lot. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from engine import inspection_plan, tracks
from engine.gather import Fact, Facts, gather
from engine.inspection_plan import InspectionPlan
from engine.known import Known, Reference
from engine.lot import Lot
from engine.records import AssignedPlan
from engine.scopes import Standing
from engine.tracks import Track, card_of, pair_of, track_facts
from rules.rulebook import RuleBook


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
    #: Holds that stand on scopes; only where a lot may come under one.
    standing: Sequence[Standing] = ()

    @property
    def day(self) -> str:
        """The plant's calendar day, as text."""
        return date.fromordinal(self.today).isoformat()

    def facts(self, lot: Lot, event: Fact | None, results: list[Fact]) -> Facts:
        """Everything that rules may look at."""
        more: Facts = {}
        kinds = self.rulebook.kinds
        if kinds & tracks.KINDS:
            more |= track_facts(self._track(lot), lot, results, kinds & tracks.KINDS)
        if lot.plan is not None and kinds & inspection_plan.KINDS:
            plan = self.reference.plan(lot.plan.plan, lot.plan.revision)
            more |= inspection_plan.plan_facts(plan, lot.plan, results, kinds & inspection_plan.KINDS)
        known = self.reference.stated(lot.item, lot.supplier, self.day)
        return gather(lot, event, results, self.today, self.rulebook.vocabulary, more, known)

    def plan_of(self, lot: Lot) -> tuple[InspectionPlan, AssignedPlan] | None:
        """The plan that the lot is inspected by; None: there is none."""
        return None if lot.plan is None else (self.reference.plan(lot.plan.plan, lot.plan.revision), lot.plan)

    def assign(self, lot: Lot, known: Known, plan: InspectionPlan) -> AssignedPlan:
        """``plan`` for ``lot``, with the sample that its size and its supplier's record ask for."""
        return inspection_plan.assign(known.key, known.revision, plan, lot.quantity, card_of(self._track(lot).card))

    def _track(self, lot: Lot) -> Track:
        return self.tracks.get(pair_of(lot.item, lot.supplier), Track())

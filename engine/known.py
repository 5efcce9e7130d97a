"""Reference data as decisions see it: which revision of a record is in force on a day, and which plan fits a lot. Pure.

Keeping and reading it is in engine/reference.py.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from engine import events as ev
from engine import stated
from engine.inspection_plan import InspectionPlan, switches
from engine.orders import Allocation, Calendar, Customer, Order
from engine.production import Routing
from engine.shelf_life import Applied, ShelfLifeRule
from engine.stated import Stated


class ReferenceFact(ev.Closed, frozen=True):
    """A fact of an item, of a supplier, or of an item from a supplier, of a kind that the vocabulary knows."""

    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
    fields: Annotated[dict[str, ev.Stated], Meta(max_length=60)]
    item: ev.Code | None = None
    supplier: ev.Code | None = None


class HoldReason(ev.Closed, frozen=True):
    """A reason for which lots may be held; its key is the code."""

    #: What it means.
    text: ev.Text = ""


Content = (
    InspectionPlan | ReferenceFact | Order | Allocation | Customer | Calendar | Routing | HoldReason | ShelfLifeRule
)
#: Kind of record -> Struct of its content.
KINDS: dict[str, type[Content]] = {
    "inspection-plan": InspectionPlan, "fact": ReferenceFact, "order": Order, "allocation": Allocation,
    "customer": Customer, "calendar": Calendar, "routing": Routing, "hold-reason": HoldReason,
    "shelf-life": ShelfLifeRule,
}  # fmt: skip
#: Kinds that change by the hour: the newest revision stands, on whichever day it was said, and saying the same again
#: confirms it.
LIVE = frozenset({"order", "allocation"})


class Known(Struct, frozen=True):
    """A record as decisions see it."""

    kind: str
    key: str
    revision: int
    effective_from: str
    effective_until: str | None
    content: Content | None

    def covers(self, day: str) -> bool:
        """Has it begun, and not ended, on ``day``?"""
        return self.effective_from <= day and (self.effective_until is None or day <= self.effective_until)


class Reference:
    """The records about some items and suppliers."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._by_key: dict[tuple[str, str], list[Known]] = {}
        for one in known:
            self._by_key.setdefault((one.kind, one.key), []).append(one)

    def in_force(self, kind: str, key: str, day: str) -> Known | None:
        """The revision of a record that is in force on ``day``: of those that have begun, the one that began last."""
        begun = [one for one in self._by_key.get((kind, key), ()) if one.effective_from <= day]
        if not begun:
            return None
        newest = max(begun, key=lambda one: (one.effective_from, one.revision))
        return newest if newest.content is not None and newest.covers(day) else None

    def plan(self, key: str, revision: int) -> InspectionPlan:
        """A plan that was assigned. Raises AssertionError for one that was never kept: no record is ever deleted."""
        for one in self._by_key.get(("inspection-plan", key), ()):
            if one.revision == revision and isinstance(one.content, InspectionPlan):
                return one.content
        raise AssertionError(f"there is no revision {revision} of the inspection plan {key}")

    def has_plan(self, key: str, revision: int) -> bool:
        """Is it a plan of the items and suppliers at hand?"""
        return any(one.revision == revision for one in self._by_key.get(("inspection-plan", key), ()))

    def plan_for(
        self, item: str, revision: str, supplier: str | None, kind: str, day: str, operation: str | None = None
    ) -> tuple[Known, InspectionPlan] | None:
        """The plan that fits best: one for the revision and the supplier before one for all of them."""
        best: tuple[int, Known, InspectionPlan] | None = None
        for kept, key in self._by_key:
            found = self.in_force(kept, key, day) if kept == "inspection-plan" else None
            plan = None if found is None else found.content
            if found is None or not isinstance(plan, InspectionPlan):
                continue
            fits = plan.item == item and plan.kind == kind and plan.operation == operation
            if not fits or plan.revision not in (None, revision) or plan.supplier not in (None, supplier):
                continue
            weight = 2 * (plan.supplier is not None) + (plan.revision is not None)
            if best is None or weight > best[0]:
                best = (weight, found, plan)
        return None if best is None else best[1:]

    def routing(self, key: str, revision: int) -> Routing | None:
        """A routing that was assigned; None: it is none of the items at hand."""
        for one in self._by_key.get(("routing", key), ()):
            if one.revision == revision and isinstance(one.content, Routing):
                return one.content
        return None

    def routing_for(self, item: str, revision: str, day: str) -> tuple[Known, Routing] | None:
        """The routing that fits best: one for the revision before one for all of them."""
        fitting: list[tuple[Known, Routing]] = []
        for kept, key in self._by_key:
            found = self.in_force(kept, key, day) if kept == "routing" else None
            if found is not None and isinstance(found.content, Routing) and found.content.item == item:
                fitting.append((found, found.content))
        exact = [one for one in fitting if one[1].revision == revision]
        return next(iter(exact or [one for one in fitting if one[1].revision is None]), None)

    def shelf_life_of(self, item: str, revision: str, supplier: str | None, day: str) -> Applied | None:
        """How long such a lot lasts: by what is said of its supplier before what is said of its revision or item."""
        best: tuple[int, Applied] | None = None
        for kind, key in self._by_key:
            found = self.in_force(kind, key, day) if kind == "shelf-life" else None
            rule = None if found is None else found.content
            if found is None or not isinstance(rule, ShelfLifeRule) or rule.item != item:
                continue
            if rule.revision not in (None, revision) or rule.supplier not in (None, supplier):
                continue
            weight = 2 * (rule.supplier is not None) + (rule.revision is not None)
            if best is None or weight > best[0]:
                best = (weight, Applied(key, found.revision, rule))
        return None if best is None else best[1]

    @property
    def switches(self) -> bool:
        """Does any plan look at suppliers' records?"""
        plans = [one.content for records in self._by_key.values() for one in records]
        return any(isinstance(plan, InspectionPlan) and switches(plan) for plan in plans)

    @property
    def skips(self) -> bool:
        """Does any plan let lots go to stock without inspection?"""
        plans = [one.content for records in self._by_key.values() for one in records]
        return any(isinstance(p, InspectionPlan) and p.sampling is not None and p.sampling.skip_lot for p in plans)

    def stated(self, item: str, supplier: str | None, day: str) -> Stated:
        """Facts in force about an item from a supplier: what is about both comes last, so that it wins."""
        found: list[tuple[int, str, ReferenceFact]] = []
        for kind, key in self._by_key:
            one = self.in_force(kind, key, day) if kind == "fact" else None
            fact = None if one is None else one.content
            if not isinstance(fact, ReferenceFact) or fact.item not in (None, item):
                continue
            if fact.supplier is None or fact.supplier == supplier:
                found.append(((fact.item is not None) + (fact.supplier is not None), key, fact))
        facts: dict[str, dict[str, Mapping[str, str]]] = {}
        for _, key, fact in sorted(found, key=lambda line: line[:2]):
            facts.setdefault(fact.kind, {})[key] = {n: stated.as_text(v) for n, v in fact.fields.items()}
        return facts

"""May this operation of a lot, or of a production order, start now? Every reason. Reads only.

What the report of its start would be answered: the operations before it, the built-in guards, the rules of the gate
start_operation (engine/in_process.py, engine/course.py).
"""

from msgspec import Struct
from sqlalchemy import select

from engine import in_process
from engine.clock import Clock, instant
from engine.errors import NotFound
from engine.explaining import load
from engine.gather import Fact
from engine.lot import Lot
from engine.operation_inspection import inspection_of, status, units
from engine.production import OperationRun
from engine.store.opening import Store
from engine.store.schema.lots import lots
from engine.surroundings import Surroundings
from rules.explain import RuleExplanation
from rules.rulebook import Case, RuleBook, RuleVerdict

GATE = "start_operation"
#: Lots of one order that are asked.
MOST_LOTS = 500


class OperationGate(Struct, frozen=True):
    """The answer for one lot, as of ``asked_at``."""

    lot: str
    #: Journal version that was looked at.
    version: int
    operation: str
    open: bool
    asked_at: str
    rule_set: str
    #: The newest report of the operation; null: none yet.
    reported: OperationRun | None
    #: Built-in reasons against it.
    guards: tuple[RuleVerdict, ...]
    #: Every rule of the gate, with the values that it looks at.
    rules: tuple[RuleExplanation, ...]


class OrderGate(Struct, frozen=True):
    """The answer for a production order: open when it is for each of its lots that are in production."""

    order: str
    operation: str
    open: bool
    lots: list[OperationGate]


class InspectedLine(Struct, frozen=True):
    """One characteristic of it: units to look at, looked at, and of these those that do not conform."""

    characteristic: str
    required: bool
    wanted: int
    inspected: int
    nonconforming: int


class InspectionLine(Struct, frozen=True):
    """An inspection in process as it stands."""

    plan: str
    revision: int
    #: open (results are missing), rejected (a required one does not conform), accepted
    status: str
    characteristics: list[InspectedLine]


class OperationLine(Struct, frozen=True):
    """One operation of a lot: what was reported of it, and what keeps it from starting."""

    operation: str
    #: It has to be completed before the lot is cleared; false for one that is in no routing.
    required: bool
    after: tuple[str, ...]
    reported: OperationRun | None
    #: Deviations at it that are not decided.
    deviations: list[str]
    #: Its inspection in process; null: it has no plan, or has not begun.
    inspection: InspectionLine | None
    #: May it start now, as far as is known without rules?
    open: bool
    guards: tuple[RuleVerdict, ...]


def gate_of_lot(
    store: Store, rulebook: RuleBook, clock: Clock, lot_id: str, operation: str, today: int
) -> OperationGate:
    """May ``operation`` of the lot start now? Raises NotFound for a lot that nobody knows."""
    lot, results, undelivered, tracks, reference = load(store, lot_id)
    around = Surroundings(instant(clock()), today, rulebook, {lot.id: undelivered}, tracks, reference)
    return _answer(around, lot, operation, results)


def _answer(around: Surroundings, lot: Lot, operation: str, results: list[Fact]) -> OperationGate:
    guards = (*in_process.missing(lot, operation), *in_process.shut(lot, operation))
    rules: tuple[RuleExplanation, ...] = ()
    opens = True
    if GATE in around.rulebook.gates():
        case = Case(GATE, around.facts(lot, None, results), around.today)
        rules, opens = around.rulebook.explain(case), around.rulebook.judge(case).opens
    return OperationGate(
        lot.id, lot.version, operation, opens and not guards, around.now, around.rulebook.digest,
        in_process.run_of(lot, operation), guards, rules,
    )  # fmt: skip


def gate_of_order(
    store: Store, rulebook: RuleBook, clock: Clock, order: str, operation: str, today: int
) -> OrderGate:
    """May ``operation`` start for every lot of the order that is in production? Raises NotFound when there is none."""
    mine = (lots.c.order_number == order, lots.c.closed.is_(None), lots.c.supplier.is_(None))
    with store.reads.connect() as connection:
        found = connection.execute(select(lots.c.id).where(*mine).order_by(lots.c.id).limit(MOST_LOTS)).scalars().all()
    answers = []
    for name in found:
        lot, results, undelivered, tracks, reference = load(store, str(name))
        around = Surroundings(instant(clock()), today, rulebook, {lot.id: undelivered}, tracks, reference)
        if lot.in_production:
            answers.append(_answer(around, lot, operation, results))
    if not answers:
        raise NotFound(f"No lot of order {order} is in production.")
    return OrderGate(order, operation, all(one.open for one in answers), answers)


def operations_of(lot: Lot, now: str) -> list[OperationLine]:
    """The operations of a lot at ``now``: those of its routing in their order, then what was reported besides."""
    steps = () if lot.routing is None else lot.routing.steps
    planned = {step.operation: step for step in steps}
    found = []
    for name in dict.fromkeys((*planned, *(run.operation for run in lot.operations))):
        step = planned.get(name)
        guards = (*in_process.missing(lot, name), *in_process.shut(lot, name))
        deviations = [r.record for r in lot.records if r.keeps_shut and r.operation == name]
        found.append(OperationLine(
            name, step is not None and step.required, () if step is None else step.after,
            in_process.run_of(lot, name), deviations, _inspection(lot, name, now), not guards, guards,
        ))  # fmt: skip
    return found


def _inspection(lot: Lot, operation: str, now: str) -> InspectionLine | None:
    one = inspection_of(lot, operation)
    if one is None:
        return None
    asked = units(one, now)
    lines = [
        InspectedLine(
            line.characteristic, line.required, asked if line.wanted is None else line.wanted, line.inspected,
            line.nonconforming,
        )
        for line in one.looked
    ]  # fmt: skip
    return InspectionLine(one.plan, one.revision, status(one, now), lines)

"""The life of a lot: six states and one table of transitions, run by the ``transitions`` library.

The table is data. It runs the lots (:func:`follow`), answers what can happen next (:func:`next_steps`) and draws
the diagram (:func:`diagram`). A lot is never bound to a machine: one machine serves all lots, and what it answers
for a state, a trigger and a situation is remembered, for it is always the same.

What may not enter: rules, records, clocks, databases. Guards by rule files belong to the gate that a row names
(``gate``); the conditions here only choose between rows.
"""

import enum
import logging
from functools import cache, lru_cache
from typing import Any

from msgspec import Struct
from transitions import EventData, Machine


class State(enum.Enum):
    """Where a lot is in its life. How it ended is an attribute (``Lot.closed``), not a seventh state."""

    RECEIVED = "received"
    QUARANTINED = "quarantined"
    INSPECTED = "inspected"
    RELEASED = "released"
    BLOCKED = "blocked"
    SHIPPED = "shipped"


# A step that the table does not have is an answer here, not something to warn of.
logging.getLogger("transitions").setLevel(logging.ERROR)

#: What the machine calls a lot that does not exist yet.
ABSENT = "absent"


class Situation(Struct, frozen=True):
    """What chooses between rows of the same trigger; everything else about the lot is for guards."""

    #: After this step the lot still has an active hold, or a rejecting disposition stands.
    still_blocked: bool = False
    #: A complete inspection stands, so a lot that leaves ``blocked`` needs no new one.
    inspection_stands: bool = False
    #: The release gate, judged again, is open (for a shipment that is voided).
    gate_open: bool = False
    #: Every part of a merge is released.
    all_released: bool = False
    #: Production of the lot has started and was not completed.
    in_production: bool = False


class Row(Struct, frozen=True):
    """One line of the table: ``trigger`` moves a lot from any of ``sources`` to ``to`` when ``when`` holds."""

    trigger: str
    sources: tuple[str, ...]
    to: str
    #: Rules of this gate must allow the step; None: no rule may stand in its way.
    gate: str | None = None
    #: Condition of the situation, with ``not `` in front for its opposite.
    when: tuple[str, ...] = ()
    #: The engine takes this step by itself as soon as it can.
    automatic: bool = False
    #: A fact of the world (goods arrived, a result was measured): recorded even where a rule of severity hold fails.
    fact: bool = False
    note: str = ""


_R, _Q, _I, _L, _B, _S = (s.value for s in State)
_BEFORE_SHIPPING = (_R, _Q, _I, _L)
SAME = "="

TABLE: tuple[Row, ...] = (
    Row("receive", (ABSENT,), _R, gate="receive", fact=True, note="goods received from a supplier"),
    Row("produce", (ABSENT,), _R, gate="receive", fact=True, note="production completed; not final in ERP"),
    Row("produce", (_R, _B), SAME, gate="receive", when=("in_production",), fact=True,
        note="completion of what was started"),
    Row("start_production", (ABSENT,), _R, gate="start_production", note="in production: nowhere in stock"),
    Row("assign_routing", (_R, _B), SAME, automatic=True, note="a routing fits the lot"),
    Row("quarantine", (_R,), _Q, gate="quarantine", automatic=True, fact=True, note="the plan requires inspection"),
    Row("dock_to_stock", (_R,), _I, gate="dock_to_stock", automatic=True, note="skip-lot earned"),
    Row("record_inspection", (_Q, _B), SAME, gate="record_inspection", fact=True, note="results recorded"),
    Row("inspect", (_Q,), _I, gate="inspect", automatic=True, note="the inspection is complete"),
    Row("release", (_I,), _L, gate="release", note="by hand, or automatic where a rule says so"),
    Row("reject", (_I,), _B, automatic=True, note="the inspection fails: a nonconformance"),
    Row("hold", (*_BEFORE_SHIPPING, _B), _B, note="a hold always lands"),
    Row("hold", (_S,), SAME, note="shipped: a recall is open"),
    Row("lift_hold", (_B,), SAME, gate="lift_hold", when=("still_blocked",), note="others are active"),
    Row("lift_hold", (_B,), _R, gate="lift_hold", when=("not still_blocked", "in_production"),
        note="the last hold of a lot in production"),
    Row("lift_hold", (_B,), _I, gate="lift_hold", when=("not still_blocked", "inspection_stands"),
        note="the last hold; releasing is a decision of its own"),
    Row("lift_hold", (_B,), _Q, gate="lift_hold", when=("not still_blocked", "not inspection_stands"),
        note="the last hold; no valid inspection stands"),
    Row("lift_hold", (_S,), SAME, gate="lift_hold", note="the recall of a shipped lot ends"),
    Row("use_as_is", (_B,), _L, gate="use_as_is", when=("not still_blocked",), note="concession, with restrictions"),
    Row("rework", (_B,), _Q, gate="rework", when=("not still_blocked",), note="a rework order"),
    Row("repair", (_B,), _Q, gate="repair", when=("not still_blocked",), note="made usable, not as specified"),
    Row("regrade", (_B,), SAME, gate="regrade", note="closed by split: a child lot of another item"),
    Row("return_to_supplier", (_B,), SAME, gate="return_to_supplier", note="closed: returned"),
    Row("scrap", (_B,), SAME, gate="scrap", note="closed: scrapped"),
    Row("reinspect", _BEFORE_SHIPPING, _Q, note="earlier results are kept"),
    Row("reinspect", (_B,), _Q, when=("not still_blocked",), note="a rejected lot is inspected again"),
    Row("reinspect", (_B,), SAME, when=("still_blocked",), note="holds stay; a new inspection is asked for"),
    Row("retest_due", _BEFORE_SHIPPING, _Q, fact=True, note="the retest date came"),
    Row("retest_due", (_B,), SAME, fact=True, note="the retest date came"),
    Row("change_shelf_life", (*_BEFORE_SHIPPING, _B), SAME, gate="change_shelf_life",
        note="another last day, or another day of retest"),
    Row("open", (*_BEFORE_SHIPPING, _B), SAME, fact=True, note="it was opened, which may shorten its shelf life"),
    Row("set_shelf_life", (*_BEFORE_SHIPPING, _B), SAME, automatic=True, note="days that reference data gives"),
    Row("consume", (_L,), SAME, gate="consume", note="closed at 0"),
    Row("expire", (_L,), _B, fact=True, note="shelf life ended: hold *expired*"),
    Row("expire", (_R, _Q, _I, _B), SAME, fact=True, note="recorded; the release gate refuses"),
    Row("ship", (_L,), _S, gate="ship", note="readiness; a part is split off first"),
    Row("void_shipment", (_S,), _L, gate="release", when=("gate_open",), fact=True, note="the guards ran again"),
    Row("void_shipment", (_S,), _B, gate="release", when=("not gate_open",), fact=True,
        note="the guards ran again and refused"),
    Row("return", (_S,), _Q, gate="return", fact=True, note="a customer sent it back"),
    Row("split", (*_BEFORE_SHIPPING, _B), SAME, note="quantities are conserved"),
    Row("repack", (*_BEFORE_SHIPPING, _B), SAME, note="other packaging, or new lots; quantities are conserved"),
    Row("merge", (ABSENT,), _B, when=("still_blocked",), note="a part is blocked: its holds come along"),
    Row("merge", (ABSENT,), _Q, when=("not still_blocked", "not inspection_stands"),
        note="a part is not inspected, or the parts were inspected apart"),
    Row("merge", (ABSENT,), _I, when=("not still_blocked", "inspection_stands", "not all_released"),
        note="the parts come from one inspection"),
    Row("merge", (ABSENT,), _L, when=("not still_blocked", "inspection_stands", "all_released"),
        note="every part passed its release gate"),
    Row("merge_into", (*_BEFORE_SHIPPING, _B), SAME, automatic=True, note="it became part of another lot"),
    Row("decide_usage", (_I, _L, _B), SAME, note="closed by split: each part is released, blocked or disposed of"),
    Row("end_concession", (_L,), _B, fact=True, note="its last day passed: hold *concession-ended*"),
    Row("state_fact", tuple(s.value for s in State), SAME, fact=True, note="another system stated a fact for rules"),
    Row("record_certificate", tuple(s.value for s in State), SAME, fact=True,
        note="a supplier's certificate of analysis or of conformity"),
    Row("assign_plan", (*_BEFORE_SHIPPING, _B), SAME, automatic=True, note="an inspection plan fits the lot"),
    Row("change_plan", (_R, _Q, _B), SAME, note="another plan for a lot in work"),
    Row("change_sampling", tuple(s.value for s in State), SAME, automatic=True,
        note="a reaction changed how hard the supplier's lots are inspected"),
    Row("record_opened", tuple(s.value for s in State), SAME, fact=True,
        note="somebody opened a nonconformance, a deviation or a corrective action"),
    Row("record_changed", tuple(s.value for s in State), SAME, fact=True, note="such a record went on"),
    Row("sign", tuple(s.value for s in State), SAME, note="an electronic signature on the lot as it is"),
    Row("open_record", tuple(s.value for s in State), SAME, automatic=True,
        note="a reaction opened a nonconformance, a deviation or a corrective action, or told somebody"),
    Row("compensate", tuple(s.value for s in State), SAME, automatic=True,
        note="a target refuses for good: others are told less until it agrees"),
    Row("settle", tuple(s.value for s in State), SAME, automatic=True,
        note="the target that refused agrees: everybody is told the truth again"),
    Row("tell_again", tuple(s.value for s in State), SAME, automatic=True,
        note="a target says something else than it agreed to, and is told again"),
    Row("revise_specification", tuple(s.value for s in State), SAME, fact=True, note="a rule decides what follows"),
    Row("start_operation", (*_BEFORE_SHIPPING, _B), SAME, gate="start_operation", note="MES starts an operation"),
    Row("report_operation", (*_BEFORE_SHIPPING, _B), SAME, gate="operation", fact=True,
        note="MES completed an operation, or gave it up; a breach opens a deviation"),
    Row("inspect_operation", (*_BEFORE_SHIPPING, _B), SAME, gate="inspect_operation", fact=True,
        note="results of an inspection in process; a unit that does not conform opens a deviation"),
    Row("plan_operation_inspection", (*_BEFORE_SHIPPING, _B), SAME, automatic=True,
        note="the operation that began is inspected by a plan"),
    Row("judge_operation_inspection", (*_BEFORE_SHIPPING, _B), SAME, automatic=True,
        note="what the results in process say so far"),
)  # fmt: skip

TRIGGERS: tuple[str, ...] = tuple(dict.fromkeys(row.trigger for row in TABLE))
_BY_TRIGGER: dict[str, tuple[Row, ...]] = {t: tuple(r for r in TABLE if r.trigger == t) for t in TRIGGERS}


class _Position(Struct):
    """The plain model a machine moves: it has a state and nothing else."""

    state: str


def _condition(name: str) -> Any:
    def holds(event: EventData) -> bool:
        return bool(getattr(event.kwargs["situation"], name))

    return holds


def _transition(row: Row) -> dict[str, Any]:
    return {
        "trigger": row.trigger,
        "source": list(row.sources),
        "dest": row.to,
        "conditions": [_condition(w) for w in row.when if not w.startswith("not ")],
        "unless": [_condition(w[4:]) for w in row.when if w.startswith("not ")],
    }


_machine = Machine(
    model=None,
    states=[ABSENT, *(s.value for s in State)],
    transitions=[_transition(row) for row in TABLE],
    initial=ABSENT,
    auto_transitions=False,
    send_event=True,
    ignore_invalid_triggers=True,
)


@lru_cache(maxsize=4096)
def follow(state: str, trigger: str, situation: Situation) -> str | None:
    """The state after ``trigger``, or None when the table has no row for it.

    ``state`` is a value of :class:`State` or ``ABSENT``; raises KeyError for a trigger that is not in the table.
    """
    position = _Position(state)
    moved = _machine.events[trigger].trigger(position, situation=situation)
    return position.state if moved else None


def gate_of(trigger: str) -> str | None:
    """The gate whose rules guard ``trigger``, or None."""
    return _BY_TRIGGER[trigger][0].gate


def is_fact(trigger: str) -> bool:
    """True when ``trigger`` reports a fact of the world rather than asking for permission."""
    return _BY_TRIGGER[trigger][0].fact


def _rows(state: str, trigger: str, in_production: bool) -> list[Row]:
    rows = [r for r in _BY_TRIGGER[trigger] if state in r.sources]
    return [r for r in rows if in_production or "in_production" not in r.when]


@cache
def steps(state: str, in_production: bool = False) -> tuple[str, ...]:
    """Triggers that have a row for ``state``, in the order of the table."""
    return tuple(t for t in TRIGGERS if _rows(state, t, in_production))


@cache
def allowed(state: str, in_production: bool = False) -> tuple[str, ...]:
    """As :func:`steps`, without those that Lotgate takes by itself: what somebody may ask for."""
    return tuple(t for t in steps(state, in_production) if not _BY_TRIGGER[t][0].automatic)


class NextStep(Struct, frozen=True):
    """What can happen next: a trigger, where it may lead, and the gate that decides."""

    trigger: str
    to: tuple[str, ...]
    gate: str | None
    automatic: bool


@cache
def next_steps(state: str, in_production: bool = False) -> tuple[NextStep, ...]:
    """Every step that the table has for ``state``."""
    found = []
    for trigger in steps(state, in_production):
        rows = _rows(state, trigger, in_production)
        to = tuple(dict.fromkeys(state if r.to == SAME else r.to for r in rows))
        found.append(NextStep(trigger, to, rows[0].gate, rows[0].automatic))
    return tuple(found)


def diagram() -> str:
    """The table as a Mermaid state diagram: the picture in the documentation and the console."""
    lines = ["stateDiagram-v2"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        for source in row.sources:
            if row.to != SAME and source != row.to:
                start = "[*]" if source == ABSENT else source
                arrows.setdefault((start, row.to), []).append(row.trigger)
    for (start, end), triggers in arrows.items():
        lines.append(f"    {start} --> {end}: {', '.join(dict.fromkeys(triggers))}")
    return "\n".join(lines) + "\n"

"""Why a lot stands where it stands, and what can happen next: the explain machinery in the words of a page.

What may not enter: judging (engine/explaining.py does), HTML.
"""

from collections.abc import Iterable

from msgspec import Struct

from engine.explaining import Explanation, explained, load
from engine.lifecycle import State, next_steps
from engine.lot import Lot
from engine.runtime import Front
from rules.explain import RuleExplanation
from rules.rulebook import RuleBook

#: Steps that the clock and other systems take; nobody looks for them on a page.
_NOT_SHOWN = frozenset(
    {
        "expire", "retest_due", "state_fact", "revise_specification", "record_opened", "record_changed", "sign",
        "record_certificate", "open", "change_plan", "change_sampling", "change_shelf_life",
    }
)  # fmt: skip
#: What everybody waits for in a state.
_GOAL = {"received": "release", "quarantined": "release", "inspected": "release", "blocked": "release",
         "released": "ship"}  # fmt: skip


class Obstacle(Struct, frozen=True):
    """One reason against a step."""

    rule: str
    #: fail, unknown
    verdict: str
    severity: str
    message: str
    #: File and line; empty for a guard that is built in.
    place: str


class NextMove(Struct, frozen=True):
    """A step that the lifecycle has for the lot's state."""

    trigger: str
    to: tuple[str, ...]
    open: bool
    against: tuple[Obstacle, ...]


class Outlook(Struct, frozen=True):
    """What is in the way of what everybody waits for, and every step that could be next."""

    goal: Explanation | None
    against: tuple[Obstacle, ...]
    moves: tuple[NextMove, ...]


def outlook(engine: Front, book: RuleBook, lot: Lot) -> Outlook:
    """Judge every step that may be next for the lot as it stands."""
    today = engine.today().toordinal()
    loaded = load(engine.store, lot.id)

    def ask(trigger: str) -> Explanation:
        return explained(loaded, book, engine.clock, trigger, today)

    goal = None
    wanted = _GOAL.get(lot.state)
    if wanted is not None and lot.closed is None:
        goal = ask(wanted)
    moves = []
    for step in next_steps(lot.state, lot.in_production):
        if step.automatic or step.trigger in _NOT_SHOWN:
            continue
        if lot.closed is not None and step.trigger not in ("hold", "lift_hold", "return", "void_shipment"):
            continue
        if step.trigger == "lift_hold" and not lot.holds:
            continue
        said = goal if goal is not None and step.trigger == wanted else ask(step.trigger)
        moves.append(NextMove(step.trigger, step.to, said.open or lot.closed is not None, obstacles(said)))
    return Outlook(goal, () if goal is None else obstacles(goal), tuple(moves))


def obstacles(said: Explanation) -> tuple[Obstacle, ...]:
    """Everything that keeps a step from being taken now, built-in guards first."""
    found = [Obstacle(v.rule, v.verdict.value, v.severity.value, v.message, "") for v in said.guards]
    return (*found, *_of_rules(said.rules))


def _of_rules(rules: Iterable[RuleExplanation]) -> list[Obstacle]:
    return [
        Obstacle(r.rule, r.verdict, r.severity, r.message, f"{r.file}:{r.line}")
        for r in rules
        if r.verdict in ("fail", "unknown") and r.severity in ("block", "hold")
    ]


#: Words for a state as a sentence, before any reason.
STANDING = {
    State.RECEIVED.value: "It has arrived; what happens to it next is not decided yet.",
    State.QUARANTINED.value: "It waits for its inspection. Nobody may use it.",
    State.INSPECTED.value: "Its inspection is complete. It waits for its release.",
    State.RELEASED.value: "It may be used and shipped.",
    State.BLOCKED.value: "Nobody may use it until somebody decides.",
    State.SHIPPED.value: "It has left.",
}

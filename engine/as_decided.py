"""A decision of then, explained by the rule set and the facts of then. Reads only.

The stored set judges the recorded facts again; where that does not give the recorded verdicts, the answer says so and
shows both, for then either the record or this release is not what it was.
"""

from datetime import tzinfo

from msgspec import Struct

from engine.errors import NotFound
from engine.explaining import UnknownTrigger
from engine.history import PastDecision, decisions_of
from engine.lifecycle import TRIGGERS, gate_of
from engine.rulesets import RuleSets
from engine.store.opening import Store
from rules.explain import RuleExplanation
from rules.rulebook import RuleBook, RuleVerdict


class AsDecided(Struct, frozen=True):
    """What was decided, and the reasons, as they were then."""

    lot: str
    #: Journal version of the decision.
    version: int
    #: State of the lot before it.
    state: str
    trigger: str
    gate: str
    recorded_at: str
    #: event (applied), consequence or refusal
    kind: str
    #: Did the decision let the lot through?
    open: bool
    #: Digest of the set that judged.
    rule_set: str
    #: Built-in guards that failed then.
    guards: tuple[RuleVerdict, ...]
    #: What the rules said then.
    verdicts: tuple[RuleVerdict, ...]
    #: Every rule of the gate, judged again by the stored set and the recorded facts.
    rules: tuple[RuleExplanation, ...]
    #: Did judging again give the same verdicts and messages?
    reproduced: bool
    #: Where it did not, in sentences.
    differences: tuple[str, ...]


def as_decided(
    store: Store, sets: RuleSets, timezone: tzinfo, lot_id: str, trigger: str, version: int | None = None
) -> AsDecided:
    """The decision at ``version``, or the newest one about ``trigger``.

    Raises NotFound when there is none, or its rule set is not stored; UnknownTrigger.
    """
    if trigger not in TRIGGERS:
        raise UnknownTrigger(f"There is no trigger {trigger!r}; there are {', '.join(TRIGGERS)}.")
    gate = gate_of(trigger)
    past = [d for d in decisions_of(store, timezone, lot_id) if d.case.gate == gate]
    found = [d for d in past if version is None or d.version == version]
    if not found:
        at = ", ".join(str(d.version) for d in past) or "none"
        which = f"at version {version} " if version is not None else ""
        raise NotFound(f"Lot {lot_id} has no decision {which}that rules judged for {trigger}; there are: {at}.")
    return _again(found[-1], sets.book(found[-1].rule_set))


def _again(decision: PastDecision, book: RuleBook) -> AsDecided:
    judged = book.judge(decision.case).verdicts
    let_through = decision.kind != "refusal" and decision.trigger != "reject"
    differences = _differences(decision.verdicts, judged)
    return AsDecided(
        decision.lot, decision.version, decision.state, decision.trigger, decision.case.gate, decision.recorded_at,
        decision.kind, let_through, decision.rule_set, decision.guards, decision.verdicts,
        book.explain(decision.case), not differences, differences,
    )  # fmt: skip


def _differences(then: tuple[RuleVerdict, ...], now: tuple[RuleVerdict, ...]) -> tuple[str, ...]:
    before, after = {v.rule: v for v in then}, {v.rule: v for v in now}
    found = []
    for rule in dict.fromkeys((*before, *after)):
        was, is_ = before.get(rule), after.get(rule)
        if was != is_:
            found.append(f"{rule}: recorded {_words(was)}, judged again {_words(is_)}")
    return tuple(found)


def _words(verdict: RuleVerdict | None) -> str:
    if verdict is None:
        return "nothing"
    return f"{verdict.verdict.value} {verdict.message}".rstrip()

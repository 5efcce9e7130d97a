"""Lot, event and verdicts to a decision: the guards that are built in, and what a gate's judgement means. Pure.

Every guard answers with all of its reasons, never only the first, in the same form as the rules of a rule file, so
that a refusal reads the same wherever it comes from. What may not enter: clocks, databases, networks.
"""

from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine import events as ev
from engine import in_process, records, usage
from engine.builtin import BUILT_IN, fails
from engine.concessions import Accounts
from engine.lifecycle import Situation
from engine.lot import CONCESSION_ENDED, Lot, puts_off, stays_on_hold, used_of
from engine.production import GAP_SECONDS
from engine.routing import UNROUTED, is_unrouted
from rules.compiled import Severity, Verdict
from rules.rulebook import Judgement, RuleVerdict

#: Gates that stay shut when no rule guards them: nothing leaves quality's hands by an empty rule file.
MUST_BE_GUARDED = frozenset({"release", "use_as_is", "ship"})
#: Triggers that a closed lot still answers: a hold always lands, and shipped goods can come back.
ANSWERED_WHEN_CLOSED = frozenset(
    {
        "hold",
        "lift_hold",
        "return",
        "void_shipment",
        "revise_specification",
        "state_fact",
        "record_certificate",
        "record_opened",
        "record_changed",
        "sign",
    }
)
#: What lets a lot be used or leave.
_USES_IT = frozenset({"release", "ship", "consume", "use_as_is"})
#: What waits until its production is cleared: a regrade, too, for the lot that it makes knows no longer what was not.
_NEEDS_PRODUCTION_CLEARED = _USES_IT | {"regrade"}
#: What waits until a lot has left production.
_OF_FINISHED_LOTS = _USES_IT | {
    "rework", "repair", "regrade", "return_to_supplier", "decide_usage", "reinspect", "split", "repack",
    "record_inspection", "change_plan", "retest_due",
}  # fmt: skip
#: The role that lifts a hold that names none, and the one that may everything.
HOLDER, ADMINISTRATOR = "hold", "admin"
#: The rule that a lot is rejected by whose sample has too many nonconforming units.
SAMPLE_ACCEPTED = "SAMPLE-ACCEPTED"
#: The guard of shipments that waits for the targets.
TARGETS_AGREE = "TARGETS-AGREE"


class Refusal(Struct, frozen=True):
    """The event changed nothing, and why."""

    #: gate-failed, transition-not-allowed, lot-exists, hold-not-active, lot-closed
    code: str
    detail: str
    gate: str | None = None
    rules: tuple[RuleVerdict, ...] = ()


class Early(Struct, frozen=True):
    """The event came before what it depends on: it is parked until ``waits_for`` arrives."""

    waits_for: str
    detail: str
    #: Somebody is told when it has waited for so long; None: when it is given up.
    tell_after_seconds: float | None = None


class Unchanged(Struct, frozen=True):
    """Recorded, not applied: ``stale`` is older than what was applied, ``duplicate`` repeats it."""

    outcome: str
    detail: str


def trigger_of(event: ev.Event) -> str:
    """The lifecycle trigger that ``event`` asks for; a disposition is the trigger of its decision."""
    if isinstance(event, ev.LotDispositioned):
        return event.data.decision
    if isinstance(event, ev.OperationReported) and event.data.status == "started":
        return "start_operation"
    if isinstance(event, ev.InspectionRecorded) and event.data.operation is not None:
        return "inspect_operation"
    return event.trigger


def admit(lot: Lot | None, event: ev.Event) -> Refusal | Early | Unchanged | None:
    """What can be said before any rule is asked; None: go on."""
    trigger = trigger_of(event)
    birth = trigger in ("receive", "produce", "merge", "start_production")
    if lot is None:
        if birth:
            return None
        return Early(f"lot:{event.subject}", f"Lot {event.subject} is not known yet; the event waits for it.")
    if birth and not (trigger == "produce" and lot.in_production):
        return Refusal("lot-exists", f"Lot {lot.id} exists already (received {lot.received_at}); use another lot id.")
    if event.sequence is not None and _is_older(event.sequence, lot.sequences.get(event.source)):
        newest = lot.sequences[event.source]
        detail = f"{event.source} already sent sequence {newest}; {event.sequence} is older and was not applied."
        return Unchanged("stale", detail)
    if lot.closed is not None and trigger not in ANSWERED_WHEN_CLOSED:
        return Refusal("lot-closed", f"Lot {lot.id} is closed ({lot.closed}); {trigger} is not possible any more.")
    if isinstance(event, ev.OperationReported):
        return _admit_operation(lot, event.data)
    return _admit_hold(lot, event)


def _admit_operation(lot: Lot, data: ev.OperationReport) -> Early | None:
    need = in_process.waits_for(lot, data)
    return None if need is None else Early(*need, GAP_SECONDS if lot.routing is None else lot.routing.wait_seconds)


def _admit_hold(lot: Lot, event: ev.Event) -> Refusal | Early | Unchanged | None:
    if isinstance(event, ev.HoldLifted):
        name = event.data.hold
        if any(h.hold == name for h in lot.holds):
            return None
        if name in lot.lifted:
            return Refusal("hold-not-active", f"Hold {name} on lot {lot.id} was lifted before.")
        return Early(f"hold:{lot.id}|{name}", f"Hold {name} on lot {lot.id} is not known yet; the event waits for it.")
    if isinstance(event, ev.HoldApplied):
        name = event.data.hold
        if any(h.hold == name for h in lot.holds):
            return Unchanged("duplicate", f"Hold {name} stands on lot {lot.id} already; nothing was changed.")
    return None


def known_dispute(lot: Lot | None, event: ev.DeliveryRefused | ev.DeliveryAgreed) -> Unchanged | None:
    """Why what a target did changes nothing; None: it does."""
    if lot is None:
        return None
    standing = next((d for d in lot.disputes if d.target == event.data.target), None)
    if isinstance(event, ev.DeliveryAgreed):
        return None if standing else Unchanged("duplicate", f"{event.data.target} disputes nothing of lot {lot.id}.")
    if standing is not None and standing.version >= event.data.version:
        return Unchanged("duplicate", f"That {event.data.target} does not take lot {lot.id} is known.")
    return None


def _is_older(sequence: str, newest: str | None) -> bool:
    if newest is None:
        return False
    if sequence.isdigit() and newest.isdigit():
        return int(sequence) <= int(newest)
    return sequence <= newest


def situation(lot: Lot | None, event: ev.Event | None, trigger: str, gate_open: bool) -> Situation:
    """What chooses between the lifecycle's rows for ``trigger``."""
    if lot is None:
        return Situation()
    if trigger == "lift_hold" and isinstance(event, ev.HoldLifted):
        blocked = lot.rejected or stays_on_hold(lot, without=event.data.hold)
    elif trigger == "use_as_is":
        blocked = stays_on_hold(lot, without=CONCESSION_ENDED)
    else:
        blocked = bool(lot.holds)
    return Situation(
        still_blocked=blocked, inspection_stands=lot.inspection_stands, gate_open=gate_open,
        in_production=lot.in_production,
    )  # fmt: skip


def guards(
    lot: Lot | None, event: ev.Event, trigger: str, today: int, undelivered: tuple[str, ...],
    accounts: Accounts | None = None,
) -> tuple[RuleVerdict, ...]:  # fmt: skip
    """Every built-in guard that fails for ``trigger``.

    ``undelivered``: targets that have not acknowledged the lot; ``accounts``: what is used under concessions.
    """
    if lot is None:
        return ()
    failing = [*standing(lot, trigger, today), *usage.guards(lot, event, today, accounts or Accounts())]
    if isinstance(event, ev.LotProduced):
        failing.extend(in_process.completion_guards(lot, event.data))
    if isinstance(event, ev.LotRepacked):
        failing.extend(_repack_guards(lot, event.data))
    if trigger in ("consume", "split", "ship", "return") or isinstance(event, ev.HoldApplied):
        failing.extend(_quantity_guards(lot, event, trigger))
    if isinstance(event, ev.HoldLifted):
        failing.extend(_lift_guards(lot, event.data))
    if trigger in ("record_opened", "record_changed", "sign"):
        failing.extend(_record_guards(lot, event))
    if isinstance(event, ev.ShelfLifeChanged):
        failing.extend(_shelf_life_guards(lot, event.data, today))
    if isinstance(event, ev.LotOpened):
        failing.extend(_opening_guards(lot, event.data, today))
    if trigger == "ship":
        failing.extend(_shipping_guards(lot, event, undelivered))
    return tuple(failing)


def standing(lot: Lot, trigger: str, today: int) -> tuple[RuleVerdict, ...]:
    """The guards of ``trigger`` that fail whatever the event says: what stands against the lot itself."""
    failing: list[RuleVerdict] = []
    if lot.in_production and trigger in _OF_FINISHED_LOTS:
        failing.append(fails("PRODUCTION-COMPLETED", f"lot {lot.id} is in production by order {lot.order}"))
    if trigger in ("use_as_is", "rework", "repair") and stays_on_hold(lot, without=CONCESSION_ENDED):
        names = ", ".join(h.hold for h in lot.holds)
        failing.append(fails("NO-ACTIVE-HOLD", f"hold {names} is active; lift it first"))
    if trigger in _NEEDS_PRODUCTION_CLEARED:
        failing.extend(in_process.uncleared(lot))
    if trigger in _USES_IT:
        if is_expired(lot, today):
            failing.append(expired(lot))
        if trigger != "use_as_is":
            failing.extend(usage.ended(lot.concession, today))
    return tuple(failing)


def is_expired(lot: Lot, today: int) -> bool:
    """The one expiry predicate: the last day of shelf life has passed."""
    return lot.expires_on is not None and today > lot.expires_on.toordinal()


def _quantity_guards(lot: Lot, event: ev.Event, trigger: str) -> list[RuleVerdict]:
    data: Any = event.data  # type: ignore[attr-defined]  # every event type has data
    parts = [c.quantity for c in data.children] if trigger == "split" else [data.quantity] if data.quantity else []
    failing = [
        fails("UNIT-OF-LOT", f"the quantity is in {part.unit}, the lot in {lot.unit}")
        for part in parts
        if part.unit != lot.unit
    ]
    asked = sum((part.value for part in parts), Decimal(0))
    if asked > lot.quantity:
        failing.append(fails("QUANTITY-AVAILABLE", f"{asked} {lot.unit} asked for, {lot.quantity} available"))
    if trigger == "split":
        ids = [c.lot for c in data.children]
        if len(set(ids)) < len(ids) or lot.id in ids:
            failing.append(fails("CHILDREN-DIFFER", "every child needs a lot id of its own"))
    if trigger == "hold" and parts and lot.closed is not None:
        failing.append(fails("PART-OF-WHAT-IS-THERE", f"lot {lot.id} is closed ({lot.closed}); hold all of it"))
    if trigger == "hold" and parts and lot.in_production:
        failing.append(fails("PART-OF-WHAT-IS-THERE", f"lot {lot.id} is in production; hold all of it"))
    return failing


def _repack_guards(lot: Lot, data: ev.Repack) -> list[RuleVerdict]:
    failing = []
    if not (data.into or data.packaging or data.packed or data.unpacked):
        failing.append(fails("REPACKING-SAID", "neither new lots nor other packaging nor handling units are said"))
    for pack in data.into:
        used = used_of(pack)
        if used.unit != lot.unit:
            words = f"{pack.lot} is counted in {pack.quantity.unit}, {lot.id} in {lot.unit}: say how much it used of it"
            failing.append(fails("UNIT-OF-LOT", words))
        elif pack.quantity.unit == lot.unit and pack.quantity.value != used.value:
            words = f"{pack.lot} has {pack.quantity.value} {lot.unit} and used {used.value}; scrap what was lost apart"
            failing.append(fails("QUANTITY-BALANCES", words))
    asked = sum((used_of(pack).value for pack in data.into), Decimal(0))
    if asked > lot.quantity:
        failing.append(fails("QUANTITY-AVAILABLE", f"{asked} {lot.unit} asked for, {lot.quantity} available"))
    ids = [pack.lot for pack in data.into]
    if len(set(ids)) < len(ids) or lot.id in ids:
        failing.append(fails("CHILDREN-DIFFER", "every new lot needs a lot id of its own"))
    if set(data.packed) & set(data.unpacked):
        failing.append(fails("HANDLING-UNITS-DIFFER", "a handling unit is packed or unpacked, not both"))
    return failing


def _lift_guards(lot: Lot, data: ev.HoldLift) -> list[RuleVerdict]:
    """A hold is lifted in the role that it names."""
    hold = next((h for h in lot.holds if h.hold == data.hold), None)
    needed = HOLDER if hold is None or hold.lift_role is None else hold.lift_role
    said = data.role or HOLDER
    if said in (needed, ADMINISTRATOR):
        return []
    return [fails("LIFT-ROLE", f"hold {data.hold} is lifted in the role {needed}; this was said in the role {said}")]


def _record_guards(lot: Lot, event: ev.Event) -> list[RuleVerdict]:
    if isinstance(event, ev.LotSigned):
        return _signing_guards(lot, event.data)
    if isinstance(event, ev.RecordOpened):
        name = event.data.record
        there = any(r.record == name for r in lot.records)
        return [fails("RECORD-IS-NEW", f"lot {lot.id} has a record {name} already")] if there else []
    if not isinstance(event, ev.RecordChanged):
        return []
    data = event.data
    record = next((r for r in lot.records if r.record == data.record), None)
    if record is None:
        known = ", ".join(r.record for r in lot.records) or "none"
        return [fails("RECORD-KNOWN", f"lot {lot.id} has no record {data.record}; it has {known}")]
    severity = data.severity or record.severity
    if records.next_status(record.status, data.step, severity) is not None:
        return []
    needs = "; a cause and a decision come first" if data.step == "close" and severity != "minor" else ""
    return [fails("RECORD-STEP", f"a {severity} {record.kind} that is {record.status} cannot {data.step}{needs}")]


def _signing_guards(lot: Lot, data: ev.Signing) -> list[RuleVerdict]:
    failing = []
    if (data.version, data.digest) != (lot.version, lot.head):
        words = f"version {data.version} was signed, and the lot is at version {lot.version}: look again, then sign"
        failing.append(fails("SIGNED-AS-IT-IS", words))
    if any((s.signer, s.meaning, s.record) == (data.signer, data.meaning, data.record) for s in lot.signatures):
        failing.append(fails("SIGNED-ONCE", f"{data.signer} has signed for {data.meaning} already"))
    return failing if data.record is None else [*failing, *_board_guards(lot, data)]


def _board_guards(lot: Lot, data: ev.Signing) -> list[RuleVerdict]:
    """Each role of the board signs a decision once, and each of them is another person."""
    record = next((r for r in lot.records if r.record == data.record), None)
    if record is None or record.status != "decided":
        status = "not known" if record is None else f"{record.status}, not decided"
        return [fails("BOARD-DECISION", f"{data.record} is {status}")]
    failing = []
    if data.role not in record.unsigned:
        wanted = ", ".join(record.unsigned) or "nobody any more"
        failing.append(fails("BOARD-ROLE", f"{data.record} has to be signed by {wanted}, not by {data.role}"))
    if any(one.signer == data.signer for one in record.signed):
        failing.append(fails("BOARD-DIFFERENT-PEOPLE", f"{data.signer} has signed {data.record} in another role"))
    return failing


def _shelf_life_guards(lot: Lot, data: ev.ShelfLife, today: int) -> list[RuleVerdict]:
    """What is made longer needs a retest that was passed, each time one; what is made shorter does not."""
    failing = []
    if data.expires_on is None and data.retest_on is None:
        failing.append(fails("SHELF-LIFE-SAID", "neither a last day nor a day of retest is said"))
    longer = puts_off(lot, data)
    if longer and not (lot.retest == "passed" and lot.inspection_stands):
        words = f"to put off the {' and the '.join(longer)}, {lot.id} has to pass a retest first"
        failing.append(fails("SHELF-LIFE-TESTED", words))
    if data.retest_on is not None and data.retest_on.toordinal() < today:
        failing.append(fails("RETEST-AHEAD", f"a retest on {_day(data.retest_on)} would be in the past"))
    last = data.expires_on or lot.expires_on
    if data.retest_on is not None and last is not None and data.retest_on > last:
        words = f"a retest on {_day(data.retest_on)} comes after the last day of shelf life, {_day(last)}"
        failing.append(fails("RETEST-BEFORE-EXPIRY", words))
    return failing


def _opening_guards(lot: Lot, data: ev.Opening, today: int) -> list[RuleVerdict]:
    failing = []
    if lot.opened_on is not None:
        failing.append(fails("OPENED-ONCE", f"lot {lot.id} was opened on {_day(lot.opened_on)} already"))
    if data.opened_on.toordinal() > today:
        failing.append(fails("OPENED-BY-NOW", f"it would be opened on {_day(data.opened_on)}, in the future"))
    return failing


def _shipping_guards(lot: Lot, event: ev.Event, undelivered: tuple[str, ...]) -> list[RuleVerdict]:
    failing = []
    if undelivered:
        failing.append(outstanding(undelivered))
    if lot.restrictions and isinstance(event, ev.LotShipped) and event.data.customer not in lot.restrictions:
        permitted = ", ".join(lot.restrictions)
        failing.append(fails("CUSTOMER-PERMITTED", f"the concession permits only {permitted}"))
    return failing


def expired(lot: Lot) -> RuleVerdict:
    """The verdict for a lot whose shelf life has ended."""
    return fails("NOT-EXPIRED", f"shelf life ended on {_day(lot.expires_on)}")


def outstanding(undelivered: tuple[str, ...]) -> RuleVerdict:
    """The verdict for a lot whose status some targets have not acknowledged."""
    names = " and ".join(name for name in undelivered if not is_unrouted(name))
    words = [f"{names} did not acknowledge the lot's present status yet"] if names else []
    words += [f"no target of kind {name.removeprefix(UNROUTED)} takes it" for name in undelivered if is_unrouted(name)]
    return fails(TARGETS_AGREE, "; ".join(words))


def child_exists(child: str) -> RuleVerdict:
    """The verdict for a split into a lot that exists already."""
    return fails("CHILD-IS-NEW", f"lot {child} exists already; a split makes new lots")


def no_such_plan(plan: str, item: str) -> RuleVerdict:
    """The verdict for an inspection plan that is not in force for the item."""
    return fails("PLAN-IN-FORCE", f"there is no inspection plan {plan} for {item} in force")


def own_ancestor(lot: str) -> RuleVerdict:
    """The verdict for an event that would make a lot of itself."""
    return fails("NOT-ITS-OWN-ANCESTOR", f"lot {lot} would be made of itself: what it names is linked the other way")


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def unguarded(gate: str) -> RuleVerdict:
    """The verdict for a gate that must be guarded and has no rule."""
    return RuleVerdict(
        "GATE-IS-GUARDED", Verdict.UNKNOWN, Severity.BLOCK,
        f"no rule guards the gate {gate}; it stays shut until a rule file does", BUILT_IN, 0, None,
    )  # fmt: skip


def disagreement(judgement: Judgement) -> RuleVerdict:
    """The verdict for a lot on which the two rule engines do not agree."""
    return RuleVerdict(
        "ENGINES-AGREE", Verdict.UNKNOWN, Severity.BLOCK,
        judgement.disagreement or "the two rule engines do not agree", BUILT_IN, 0, None,
    )  # fmt: skip


def refusing(judgement: Judgement, fact: bool) -> tuple[RuleVerdict, ...]:
    """The verdicts that keep the gate shut: for a fact of the world only those of severity ``block``."""
    if fact:
        return tuple(v for v in judgement.refusing if v.severity is Severity.BLOCK)
    if not judgement.agreed:
        return (*judgement.refusing, disagreement(judgement))
    return judgement.refusing


def holds_to_place(judgement: Judgement) -> tuple[RuleVerdict, ...]:
    """Verdicts that put a hold on a lot whose fact of the world was recorded all the same."""
    placed = tuple(v for v in judgement.refusing if v.severity is Severity.HOLD)
    return placed if judgement.agreed else (*placed, disagreement(judgement))


def rejecting(judgement: Judgement) -> tuple[str, ...]:
    """Rules that failed and say that the lot is to be blocked at once."""
    return tuple(v.rule for v in judgement.verdicts if v.verdict is Verdict.FAIL and v.on_fail == "block")

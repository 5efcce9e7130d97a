"""What becomes of a lot and of its parts: quantities that balance, decisions carried out as they were made. Pure.

A usage decision divides a lot by what becomes of its parts; a nonconformance says how much of the lot it is about and
what was decided of how much; a concession permits use until a day, up to a quantity. What may not enter: databases,
clocks, HTTP.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from engine import events as ev
from engine.builtin import fails
from engine.concessions import Accounts
from engine.lot import Lot
from engine.records import QualityRecord, concession_of, without_decision
from engine.submission import lots_of_parts
from rules.rulebook import RuleVerdict

#: What may be decided of a part, by the state of the lot.
_DECISIONS: dict[str, tuple[str, ...]] = {
    "inspected": ("release", "block", "use_as_is", "rework", "repair", "return_to_supplier", "scrap"),
    "released": ("release", "block"),
    "blocked": ("block", "use_as_is", "rework", "repair", "return_to_supplier", "scrap"),
}
#: Decisions that are dispositions of what does not conform.
DISPOSITIONS = ("use_as_is", "rework", "repair", "return_to_supplier", "scrap")
Amounts = dict[str, Decimal]


def guards(lot: Lot, event: ev.Event, today: int, accounts: Accounts) -> tuple[RuleVerdict, ...]:
    """Every built-in reason against a usage decision, a disposition, or the decision of a nonconformance."""
    if isinstance(event, ev.UsageDecided):
        names = lots_of_parts(event)
        same = len(set(names)) < len(names) or lot.id in names
        differ = [fails("CHILDREN-DIFFER", "every part needs a lot id of its own")] if same else []
        return (*differ, *_usage_guards(lot, event.data, today, accounts))
    if isinstance(event, ev.LotDispositioned):
        found = [*_concession_guards(lot, [(event.data, lot.quantity)], today, accounts, event.data.record)]
        if event.data.record is not None:
            found += _as_decided(lot, event.data.record, {event.data.decision: lot.quantity})
        return tuple(found)
    if isinstance(event, ev.RecordOpened):
        return tuple(_opening_guards(lot, event.data))
    if isinstance(event, ev.RecordChanged):
        return tuple(_decision_guards(lot, event.data, today, accounts))
    return ()


def _usage_guards(lot: Lot, data: ev.UsageDecision, today: int, accounts: Accounts) -> list[RuleVerdict]:
    found = [
        fails("UNIT-OF-LOT", f"a part is in {part.quantity.unit}, the lot in {lot.unit}")
        for part in data.parts if part.quantity.unit != lot.unit
    ]  # fmt: skip
    whole = sum((part.quantity.value for part in data.parts), Decimal(0))
    if not found and whole != lot.quantity:
        less = lot.quantity - whole
        rest = f"{less:f} {lot.unit} are not decided" if less > 0 else f"{-less:f} {lot.unit} are not there"
        found.append(fails("PARTS-BALANCE", f"the parts are {whole:f} {lot.unit}, the lot {lot.quantity:f}: {rest}"))
    possible = _DECISIONS.get(lot.state, ())
    for decision in dict.fromkeys(part.decision for part in data.parts):
        if decision not in possible:
            words = f"{decision} is not possible of a lot that is {lot.state}: {', '.join(possible)}"
            found.append(fails("PART-POSSIBLE", words))
        if decision in ("use_as_is", "rework", "repair") and lot.holds:
            names = ", ".join(h.hold for h in lot.holds)
            found.append(fails("NO-ACTIVE-HOLD", f"hold {names} is active; lift it before {decision}"))
    said = [(part, part.quantity.value) for part in data.parts]
    found += _concession_guards(lot, said, today, accounts, data.record)
    if data.record is not None:
        found += _as_decided(lot, data.record, _amounts(data.parts))
    return found


def _amounts(parts: Iterable[ev.LotPart | ev.Disposed]) -> Amounts:
    found: Amounts = {}
    for part in parts:
        if part.decision != "release":
            found[part.decision] = found.get(part.decision, Decimal(0)) + part.quantity.value
    return found


def _as_decided(lot: Lot, name: str, amounts: Amounts) -> list[RuleVerdict]:
    """Is what is carried out that of which the record is, and as it was decided?"""
    record = next((r for r in lot.records if r.record == name and r.kind == "nonconformance"), None)
    if record is None:
        return [fails("RECORD-KNOWN", f"lot {lot.id} has no nonconformance {name}")]
    whole, affected = sum(amounts.values(), Decimal(0)), _affected(lot, record)
    found = []
    if whole != affected:
        words = f"{name} is about {affected:f} {lot.unit}; {whole:f} {lot.unit} are decided"
        found.append(fails("QUANTITY-OF-RECORD", words))
    disposed = {decision: amount for decision, amount in amounts.items() if decision != "block"}
    if not disposed:
        return found
    if record.undecided:
        found.append(fails("RECORD-DECIDED", record.undecided))
    elif disposed != _amounts(record.dispositions):
        words = f"{name} decided {_words(_amounts(record.dispositions), lot.unit)}, not {_words(disposed, lot.unit)}"
        found.append(fails("DISPOSED-AS-DECIDED", words))
    return found


def _affected(lot: Lot, record: QualityRecord) -> Decimal:
    return lot.quantity if record.quantity is None else record.quantity


def _words(amounts: Amounts, unit: str) -> str:
    return ", ".join(f"{name} {amount:f} {unit}" for name, amount in sorted(amounts.items())) or "nothing"


def _opening_guards(lot: Lot, data: ev.RecordOpening) -> list[RuleVerdict]:
    if data.quantity is None:
        return []
    if data.kind != "nonconformance":
        return [fails("QUANTITY-OF-NONCONFORMANCE", f"a {data.kind.replace('_', ' ')} is about no quantity")]
    if data.quantity.unit != lot.unit:
        return [fails("UNIT-OF-LOT", f"the quantity is in {data.quantity.unit}, the lot in {lot.unit}")]
    if data.quantity.value > lot.quantity:
        words = f"{data.quantity.value:f} {lot.unit} do not conform, {lot.quantity:f} are there"
        return [fails("QUANTITY-AVAILABLE", words)]
    return []


def _decision_guards(lot: Lot, data: ev.RecordStep, today: int, accounts: Accounts) -> list[RuleVerdict]:
    record = next((r for r in lot.records if r.record == data.record), None)
    if record is None:
        return []
    if data.step == "close" and record.unsigned and record.status == "decided":
        return [fails("BOARD-SIGNED", record.undecided)]
    if data.step != "decide":
        said = data.dispositions or data.board
        return [fails("RECORD-STEP", "dispositions and a board go with the step decide")] if said else []
    if len(set(data.board)) < len(data.board):
        return [fails("BOARD-ROLES-DIFFER", "each role of the board signs once")]
    if not data.dispositions:
        return []
    if record.kind != "nonconformance":
        return [fails("QUANTITY-OF-NONCONFORMANCE", f"a {record.kind.replace('_', ' ')} has no dispositions")]
    found = [
        fails("UNIT-OF-LOT", f"a disposition is in {one.quantity.unit}, the lot in {lot.unit}")
        for one in data.dispositions if one.quantity.unit != lot.unit
    ]  # fmt: skip
    whole = sum((one.quantity.value for one in data.dispositions), Decimal(0))
    if not found and whole != _affected(lot, record):
        words = f"{whole:f} {lot.unit} are disposed of, {_affected(lot, record):f} {lot.unit} do not conform"
        found.append(fails("DISPOSITIONS-BALANCE", words))
    wanted = [(one, one.quantity.value) for one in data.dispositions]
    return [*found, *_concession_guards(lot, wanted, today, accounts)]


# -- concessions ---------------------------------------------------------------------------------------------------


def _concession_guards(
    lot: Lot, said: Sequence[tuple[ev.LotPart | ev.Disposition | ev.Disposed, Decimal]], today: int,
    accounts: Accounts, record: str | None = None,
) -> list[RuleVerdict]:  # fmt: skip
    found: list[RuleVerdict] = []
    used: dict[str, Decimal] = {}
    for one, amount in said:
        concession = concession_of(lot.records, record, one.decision, one.concession)
        if concession is None:
            continue
        if one.decision != "use_as_is":
            words = f"concession {concession.number} permits use as is, not {one.decision}"
            found.append(fails("CONCESSION-OF-USE", words))
        found += ended(concession, today)
        used[concession.number] = used.get(concession.number, Decimal(0)) + amount
        found += _limit(lot, concession, used[concession.number], accounts)
    return found


def _limit(lot: Lot, concession: ev.Concession, used: Decimal, accounts: Accounts) -> list[RuleVerdict]:
    """Does the concession permit ``used`` of the lot, beside what all other lots use by it?"""
    number, said, known = concession.number, concession.quantity, accounts.limit(concession.number)
    if said is not None and known is not None and (said.value, said.unit) != known:
        granted = f"concession {number} was said to permit {known[0]:f} {known[1]}"
        granted += f", here it is {said.value:f} {said.unit}"
        if concession.amends is None or said.unit != known[1]:
            return [fails("CONCESSION-AS-GRANTED", f"{granted}; where it was amended, say why (amends)")]
        known = (said.value, said.unit)
    if known is None:
        if said is None:
            return []
        known = (said.value, said.unit)
    limit, unit = known
    if unit != lot.unit:
        return [fails("UNIT-OF-LOT", f"concession {number} is in {unit}, the lot in {lot.unit}")]
    before = accounts.total(number, unit).used
    if before + _added(lot, number, used, accounts) <= limit:
        return []
    if before == 0:
        return [fails("CONCESSION-QUANTITY", f"concession {number} permits {limit:f} {unit}, not {used:f}")]
    lots = accounts.named(number, unit, lot.plant)
    words = f"concession {number} permits {limit:f} {unit}; {before:f} {unit} are used by {lots}"
    left = max(Decimal(0), limit - before)
    return [fails("CONCESSION-QUANTITY", f"{words}; {left:f} {unit} are left, not {used:f}")]


def _added(lot: Lot, number: str, used: Decimal, accounts: Accounts) -> Decimal:
    """How much of ``used`` does not count under the concession yet: a lot that is used by it counts once."""
    if lot.concession is None or lot.concession.number != number:
        return used
    # What else becomes of the lot may take its share of what counts first.
    others = max(Decimal(0), lot.quantity - used)
    return max(Decimal(0), used - max(Decimal(0), accounts.counts(number, lot.id, lot.unit) - others))


def ended(concession: ev.Concession | None, today: int) -> list[RuleVerdict]:
    """The verdict for a concession whose last day has passed."""
    if concession is None or today <= concession.valid_until.toordinal():
        return []
    return [fails("CONCESSION-VALID", f"concession {concession.number} ended on {concession.valid_until.isoformat()}")]


# -- parts ---------------------------------------------------------------------------------------------------------


def records_of(lot: Lot, data: ev.UsageDecision, part: ev.LotPart) -> tuple[QualityRecord, ...]:
    """The quality records that a part carries on: what is released has nothing to do with the record that is named."""
    return tuple(
        without_decision(one) for one in lot.records if part.decision != "release" or one.record != data.record
    )


def part_as_lot(lot: Lot, name: str, data: ev.UsageDecision, part: ev.LotPart) -> Lot:
    """A part as its gate sees it."""
    return replace(lot, id=name, quantity=part.quantity.value, records=records_of(lot, data, part))


def disposition_of(lot: Lot, data: ev.UsageDecision, part: ev.LotPart) -> ev.Disposition:
    """What the journal of a part says of its disposition."""
    if part.decision == "release" or part.decision == "block":
        raise AssertionError(f"{part.decision} is no disposition")
    return ev.Disposition(
        decision=part.decision, reason=data.reason, reference=part.reference, restrictions=part.restrictions,
        concession=concession_of(lot.records, data.record, part.decision, part.concession), record=data.record,
    )  # fmt: skip


def about_part(verdict: RuleVerdict, name: str, part: ev.LotPart) -> RuleVerdict:
    """A verdict that says of which part it is."""
    words = f"{name} ({part.quantity.value:f} {part.quantity.unit}, {part.decision})"
    return replace(verdict, message=f"{words}: {verdict.message}")


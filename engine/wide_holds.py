"""Wide holds: one hold on very many lots, and lifts of very many.

On a scope (an item, a supplier, an order): all of its lots that are there, and whichever come in until it is lifted
(engine/scopes.py). By a filter: the lots that it finds, once. A lift by a filter ends one named hold on the lots that
it finds. The clock process carries them out in pages, each committed with how far it has come, so that it goes on
after a crash and makes nobody wait; every lot has its own event, whose answer counts. Of all lots each gets ordinary
holds: families pass them on. A look beforehand writes nothing and has a digest, which whoever acts may hand back: then
nothing is done when the lots are not the same any more. What may not enter: SQL (engine/store/wide_holds.py).
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engine import events as ev
from engine.clock import Clock, instant
from engine.errors import EventInvalid, LotgateError, NotFound
from engine.pipeline import Pipeline
from engine.recalls import PAGE, TOGETHER, RecallId, Selection, checked
from engine.scopes import FIELDS, hold_of, order_of
from engine.store import wide_holds as stored
from engine.store.opening import Store
from engine.submission import submission

#: Source of the holds and lifts that are placed and ended here.
WIDE = "lotgate/hold"
#: Lots that a look names.
FIRST = 20
#: The role that lifts what names none.
HOLDER = "hold"


class Outdated(LotgateError):
    """What was looked at beforehand is not what would be done now."""

    code = "preview-outdated"
    title = "The lots are not those that were looked at"
    status = 409


class WrongRole(LotgateError):
    """The hold names another role that lifts it."""

    code = "lift-role"
    title = "The hold is lifted in another role"
    status = 409


#: States in which a lot can be found by a filter: what was shipped is no longer here.
HeldIn = Literal["received", "quarantined", "inspected", "released", "blocked"]


class Filter(Selection, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which lots: those that fit everything that is said."""

    states: list[HeldIn] = []


class Preview(Struct, frozen=True, forbid_unknown_fields=True):
    """What to look at."""

    selection: Filter
    #: The name of a hold: look at lots from which it would be lifted.
    lifts: ev.Code | None = None


class Look(Struct, frozen=True):
    """Which lots would be held, or lifted; nothing was changed."""

    lots: int
    states: dict[str, int]
    items: dict[str, int]
    first: list[str]
    #: SHA-256 over what was asked and every lot that was found.
    digest: str


class OpenHold(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be held, and why."""

    scope: Literal["item", "supplier", "order", "filter"]
    selection: Filter
    reason: ev.Reason
    #: Chosen by the caller, so that the same call again is the same hold; else one is made up.
    id: RecallId | None = None
    owner: ev.Code | None = None
    lift_role: ev.LiftRole | None = None
    #: Of the look before: refused when the lots are not the same any more.
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None


class LiftMany(Struct, frozen=True, forbid_unknown_fields=True):
    """From which lots a hold is to be lifted."""

    #: Name of the hold, on each of the lots.
    lifts: ev.Code
    selection: Filter
    reason: ev.Reason
    id: RecallId | None = None
    #: In which role; left out: hold.
    role: ev.LiftRole | None = None
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None


class WideHold(Struct, frozen=True):
    """A hold on many lots, or a lift of many, and how far it is. Instants are ISO 8601, UTC."""

    id: str
    #: hold, lift
    kind: str
    #: item, supplier, order: on all lots, later ones too; filter
    scope: str
    selection: Filter
    reason: ev.Reason
    owner: str | None
    lift_role: ev.LiftRole | None
    lifts: str | None
    role: ev.LiftRole | None
    #: placing, placed, lifting, lifted
    state: str
    #: Lots that come in now are held.
    stands: bool
    #: Lots that were held, or lifted, so far; and those whose gate or hold said no to a lift.
    done: int
    refused: int
    opened_at: str
    opened_by: str
    ended_at: str | None
    lift_reason: ev.Reason | None
    lifted_by: str | None


class StepLine(Struct, frozen=True):
    """What was done, or tried."""

    #: opened, placed, lift-refused, lift-asked, lifted
    step: str
    at: str
    by: str
    detail: str


class WideHoldView(Struct, frozen=True):
    """A hold on many lots with its history."""

    hold: WideHold
    steps: list[StepLine]


class HeldLot(Struct, frozen=True):
    """A lot that carries a hold, or carried it."""

    id: str
    state: str
    closed: str | None
    item: str
    quantity: str
    unit: str
    supplier: str | None
    plant: str | None
    applied_at: str
    lifted_at: str | None


class WideHolds:
    """The holds on many lots of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def preview(self, wanted: Preview) -> Look:
        """Which lots would be held, or lifted. Raises EventInvalid for a filter that says nothing."""
        return self._look(wanted.selection, wanted.lifts)

    def lines(
        self, *, states: Sequence[str] = (), after: tuple[str, str] | None = None, limit: int | None = None
    ) -> list[WideHold]:
        """Those in ``states``, or all, the newest first, from ``after`` (opened at, id) on; without a limit all."""
        return [_wide(row) for row in stored.lines(self._store, states, after, limit)]

    def counts(self) -> dict[str, int]:
        """How many there are in each state."""
        return stored.counts(self._store)

    def get(self, identity: str) -> WideHold:
        """One of them. Raises NotFound."""
        row = stored.line(self._store, identity)
        if row is None:
            raise NotFound(f"There is no wide hold {identity}.")
        return _wide(row)

    def view(self, identity: str) -> WideHoldView:
        """One of them, with what was done to it. Raises NotFound."""
        return WideHoldView(self.get(identity), [StepLine(*row) for row in stored.steps(self._store, identity)])

    def lots(self, identity: str, *, after: str = "", limit: int | None = None) -> list[HeldLot]:
        """The lots that carry the hold, or carried it, by id; ``limit``: so many of them from ``after`` on.

        A lot that was held several times is there as often. Raises NotFound.
        """
        return [HeldLot(*row) for row in stored.lots_of(self._store, self._placed(identity), after, limit)]

    def number(self, identity: str) -> int:
        """How many lots carry the hold, or carried it. Raises NotFound."""
        return stored.number_held(self._store, self._placed(identity))

    def _placed(self, identity: str) -> str:
        """The name that it has on lots."""
        wide = self.get(identity)
        return hold_of(wide.id) if wide.lifts is None else wide.lifts

    def open(self, wanted: OpenHold, by: str) -> tuple[WideHold, bool]:
        """Place a hold; the clock carries it out. Gives it, and whether it is new: the same again is the same.

        Raises EventInvalid for what selects nothing, or an id that is taken; Outdated when the look before showed
        other lots.
        """
        _check_scope(wanted)
        row = self._row(wanted.id, "hold", wanted.selection, wanted.reason, by, wanted.scope) | {
            "owner": wanted.owner, "lift_role": wanted.lift_role, "stands": int(wanted.scope != "filter"),
        }  # fmt: skip
        return self._add(row, wanted.digest, wanted.selection, None)

    def lift_many(self, wanted: LiftMany, by: str) -> tuple[WideHold, bool]:
        """Lift a hold from the lots that a filter finds; else as :meth:`open`."""
        row = self._row(wanted.id, "lift", wanted.selection, wanted.reason, by, "filter") | {
            "lifts": wanted.lifts, "role": wanted.role, "state": "lifting", "stands": 0,
            "lift_reason": _text(wanted.reason), "lifted_by": by,
        }  # fmt: skip
        return self._add(row, wanted.digest, wanted.selection, wanted.lifts)

    def lift(self, identity: str, reason: ev.Reason, by: str, role: ev.LiftRole | None = None) -> WideHold:
        """End a hold: on its scope at once, on its lots by the clock. Once lifted, it is not lifted again.

        Raises NotFound; WrongRole, which is kept with the hold, for another role than it names.
        """
        there = self.get(identity)
        if there.kind != "hold":
            raise EventInvalid(f"{identity} is a lift itself.", "")
        needed, said = there.lift_role or HOLDER, role or HOLDER
        if said not in (needed, "admin"):
            words = f"Hold {identity} is lifted in the role {needed}; this was said in the role {said}."
            stored.note(self._store, self._step(identity, "lift-refused", by, words))
            raise WrongRole(words)
        if there.state in ("placing", "placed"):
            change = {
                "state": "lifting", "stands": 0, "cursor": "", "done": 0, "refused": 0, "lifted_by": by, "role": role,
                "lift_reason": _text(reason), "ended_at": None,
            }  # fmt: skip
            step = self._step(identity, "lift-asked", by, f"{reason.code} {reason.text}".strip())
            stored.move(self._store, identity, there.state, change, step)
        return self.get(identity)

    def _look(self, selection: Filter, lifts: str | None) -> Look:
        wanted = checked(self._store, selection, "A hold")
        sum_ = hashlib.sha256(_text([selection, lifts]).encode())
        states: Counter[str] = Counter()
        items: Counter[str] = Counter()
        first: list[str] = []
        for lot, state, item in stored.look(self._store, wanted, lifts):
            sum_.update(b"\n" + lot.encode())
            states[state] += 1
            items[item] += 1
            if len(first) < FIRST:
                first.append(lot)
        common = dict(items.most_common(FIRST))
        return Look(states.total(), dict(sorted(states.items())), common, first, sum_.hexdigest())

    def _row(
        self, identity: str | None, kind: str, selection: Filter, reason: ev.Reason, by: str, scope: str
    ) -> dict[str, Any]:
        return {
            "id": identity or f"W-{secrets.token_hex(4)}", "kind": kind, "scope": scope, "selection": _text(selection),
            "reason": _text(reason), "state": "placing", "opened_at": instant(self._clock()), "opened_by": by,
            "owner": None, "lift_role": None, "lifts": None, "role": None,
        }  # fmt: skip

    def _add(
        self, row: dict[str, Any], digest: str | None, selection: Filter, lifts: str | None
    ) -> tuple[WideHold, bool]:
        checked(self._store, selection, "A hold")
        there = stored.line(self._store, row["id"])
        new = False
        if there is None:
            if digest is not None and (now := self._look(selection, lifts)).digest != digest:
                raise Outdated(f"There are {now.lots} lots now, and not those that were looked at; look again.")
            step = self._step(row["id"], "opened", row["opened_by"], _words(row, selection))
            new = stored.add(self._store, row, step)
            there = stored.line(self._store, row["id"])
        same = ("kind", "scope", "selection", "reason", "owner", "lift_role", "lifts")
        if not new and any(getattr(there, name) != row[name] for name in same):
            raise EventInvalid(f"There is another wide hold {row['id']} already.", "/id")
        return _wide(there), new

    def _step(self, identity: str, step: str, by: str, detail: str) -> dict[str, Any]:
        return {"hold": identity, "step": step, "at": instant(self._clock()), "by": by, "detail": detail}


def carry_out(store: Store, pipeline: Pipeline, clock: Clock) -> int:
    """Take every one that is under way one page further; gives how many events that took.

    A crash repeats events under their ids, which changes nothing.
    """
    said = 0
    for row in reversed(stored.lines(store, ("placing", "lifting"))):  # what was asked first comes first
        wide = _wide(row)
        page = _hold_page if wide.state == "placing" else _lift_page
        said += page(store, pipeline, clock, wide, row.cursor)
    return said


def _hold_page(store: Store, pipeline: Pipeline, clock: Clock, wide: WideHold, cursor: str) -> int:
    name = hold_of(wide.id)
    lots = stored.to_hold(store, checked(store, wide.selection, "A hold"), name, cursor, PAGE)
    scope: Any = wide.scope
    data = order_of(wide.id, wide.reason, scope, wide.owner, wide.lift_role)
    applied, refused = _say(pipeline, wide, lots, "held", wide.opened_by, ev.HoldApplied, data)
    change: dict[str, Any] = {"done": wide.done + applied, "refused": wide.refused + refused}
    step = None
    if len(lots) == PAGE:
        change["cursor"] = lots[-1]
    else:
        # Counted anew: a page that a crash cut short counted nothing.
        change |= {"state": "placed", "ended_at": instant(clock()), "done": stored.number_held(store, name)}
        step = _ended(wide, clock, "placed", change)
    stored.move(store, wide.id, "placing", change, step)
    return len(lots)


def _lift_page(store: Store, pipeline: Pipeline, clock: Clock, wide: WideHold, cursor: str) -> int:
    if wide.kind == "lift" and wide.lifts is not None:
        name = wide.lifts
        lots = stored.to_lift(store, checked(store, wide.selection, "A hold"), name, cursor, PAGE)
    else:
        name = hold_of(wide.id)
        lots = stored.standing_on(store, name, cursor, PAGE)
    reason = wide.lift_reason or wide.reason
    data = ev.HoldLift(hold=name, reason=reason, role=wide.role)
    applied, refused = _say(pipeline, wide, lots, "lifted", wide.lifted_by or WIDE, ev.HoldLifted, data)
    change: dict[str, Any] = {"done": wide.done + applied, "refused": wide.refused + refused}
    step = None
    if len(lots) == PAGE:
        change["cursor"] = lots[-1]
    else:
        number = stored.number_lifted(store, name, WIDE, f"{wide.id}/lifted/")
        change |= {"state": "lifted", "ended_at": instant(clock()), "done": number}
        step = _ended(wide, clock, "lifted", change)
    stored.move(store, wide.id, "lifting", change, step)
    return len(lots)


def _ended(wide: WideHold, clock: Clock, step: str, change: dict[str, Any]) -> dict[str, Any]:
    words = f"{change['done']} lots" + (f", {change['refused']} refused" if change["refused"] else "")
    return {"hold": wide.id, "step": step, "at": instant(clock()), "by": WIDE, "detail": words}


def _say(
    pipeline: Pipeline, wide: WideHold, lots: Sequence[str], what: str, by: str, kind: Any, data: Any
) -> tuple[int, int]:
    """Tell every lot; gives how many took it, and how many refused."""
    told = []
    for lot in lots:
        identity = f"{wide.id}/{what}/{ev.event_key('lot', lot)}"
        told.append(submission(kind(specversion="1.0", source=WIDE, id=identity, subject=lot, data=data), by))
    refused = 0
    for start in range(0, len(told), TOGETHER):
        answers = pipeline.process(told[start : start + TOGETHER])
        refused += sum(answer.status >= 400 for answer in answers)
    return len(lots) - refused, refused


def _check_scope(wanted: OpenHold) -> None:
    said = [n for n in Filter.__struct_fields__ if getattr(wanted.selection, n) not in (None, [])]
    if wanted.scope == "filter":
        return
    if wanted.scope not in said:
        raise EventInvalid(f"A hold on the scope {wanted.scope} says which.", f"/selection/{wanted.scope}")
    for name in said:
        if name not in FIELDS:
            words = f"Lots that come in later are known by {', '.join(FIELDS)}; {name} is for the scope filter."
            raise EventInvalid(words, f"/selection/{name}")


def _words(row: dict[str, Any], selection: Filter) -> str:
    said = msgspec.to_builtins(selection)
    parts = [f"{name} {value if isinstance(value, str) else 'as said'}" for name, value in said.items()]
    what = f"lift of {row['lifts']} from" if row["lifts"] else "hold on"
    return f"{what} lots of {', '.join(parts)}"


def _wide(row: Any) -> WideHold:
    values = {name: getattr(row, name) for name in WideHold.__struct_fields__}
    values["selection"] = msgspec.json.decode(row.selection, type=Filter)
    values["reason"] = msgspec.json.decode(row.reason, type=ev.Reason)
    values["lift_reason"] = None if row.lift_reason is None else msgspec.json.decode(row.lift_reason, type=ev.Reason)
    values["stands"] = bool(row.stands)
    return WideHold(**values)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()

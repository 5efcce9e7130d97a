"""Why, and why not: every guard of a trigger for a lot as it stands, with the values it looks at. Reads only."""

from collections.abc import Collection

import msgspec
from msgspec import Struct

from engine import decide
from engine import events as ev
from engine.at_hand import results_in_force
from engine.clock import Clock, instant
from engine.concession_lists import ConcessionLine, about
from engine.errors import LotgateError, NotFound
from engine.gather import Fact
from engine.inspection_plan import found_of, incomplete
from engine.known import Reference
from engine.lifecycle import TRIGGERS, gate_of, steps
from engine.lot import Lot, decode_lot
from engine.reference import read_reference
from engine.store import writing
from engine.store.opening import Store
from engine.supplier_certificates import Certificate, Comparison, compare
from engine.surroundings import Surroundings
from engine.track_record import read_tracks
from engine.tracks import Track, pair_of
from rules.explain import RuleExplanation
from rules.rulebook import Case, RuleBook, RuleVerdict

#: A lot with its results, undelivered targets, tracks and reference data.
Loaded = tuple[Lot, list[Fact], tuple[str, ...], dict[str, Track], Reference]


class UnknownTrigger(LotgateError):
    """There is no such trigger; the message lists those there are."""

    code = "trigger-unknown"
    title = "There is no such trigger"
    status = 422


class Explanation(Struct, frozen=True):
    """What would happen if ``trigger`` were tried now, and every reason."""

    lot: str
    version: int
    state: str
    trigger: str
    gate: str | None
    #: Does the lifecycle have this step for the lot's state?
    possible: bool
    #: Would the event be applied, as far as can be said without it?
    open: bool
    rule_set: str
    #: Built-in guards that fail.
    guards: tuple[RuleVerdict, ...]
    rules: tuple[RuleExplanation, ...]
    #: What all lots together use of the concessions by which the lot is used, or its records were decided.
    concessions: tuple[ConcessionLine, ...] = ()


def explain(
    store: Store, rulebook: RuleBook, clock: Clock, lot_id: str, trigger: str, today: int,
    plants: Collection[str] = (),
) -> Explanation:  # fmt: skip
    """Judge ``trigger`` for the lot as it stands, changing nothing.

    Raises NotFound for an unknown lot, UnknownTrigger for a trigger the lifecycle does not have.
    """
    if trigger not in TRIGGERS:
        raise UnknownTrigger(f"There is no trigger {trigger!r}; there are {', '.join(TRIGGERS)}.")
    loaded = load(store, lot_id)
    found = explained(loaded, rulebook, clock, trigger, today)
    return msgspec.structs.replace(found, concessions=about(store, loaded[0], plants=plants))


def explained(loaded: Loaded, rulebook: RuleBook, clock: Clock, trigger: str, today: int) -> Explanation:
    """As :func:`explain`, but for concessions, of what was loaded already: whoever asks about many steps loads once."""
    lot, facts, undelivered, tracks, reference = loaded
    gate = gate_of(trigger)
    around = Surroundings(instant(clock()), today, rulebook, {lot.id: undelivered}, tracks, reference)
    guards = _guards(lot, trigger, today, undelivered)
    plan = around.plan_of(lot) if trigger == "inspect" else None
    lacking = None if plan is None else incomplete(found_of(*plan, facts))
    guards = guards if lacking is None else (*guards, lacking)
    rules: tuple[RuleExplanation, ...] = ()
    opens = True
    if gate is not None and gate in rulebook.gates():
        case = Case(gate, around.facts(lot, None, facts), today)
        rules = rulebook.explain(case)
        opens = rulebook.judge(case).opens
    elif gate in decide.MUST_BE_GUARDED:
        guards = (*guards, decide.unguarded(gate or trigger))
    possible = trigger in steps(lot.state, lot.in_production) and lot.closed is None
    return Explanation(
        lot.id, lot.version, lot.state, trigger, gate, possible, possible and opens and not guards,
        rulebook.digest, guards, rules,
    )  # fmt: skip


class Certificates(Struct, frozen=True):
    """Certificates of a lot's supplier, and each of their values beside our limits and our results."""

    data: list[Certificate]
    values: list[Comparison]


def certificates(store: Store, lot_id: str) -> Certificates:
    """The certificates that came with a lot. Raises NotFound."""
    lot, facts, _, _, reference = load(store, lot_id)
    plan = None if lot.plan is None else reference.plan(lot.plan.plan, lot.plan.revision)
    return Certificates(list(lot.certificates), compare(lot.certificates, plan, facts))


def load(store: Store, lot_id: str) -> Loaded:
    """A lot with its results, undelivered targets, tracks and reference data. Raises NotFound."""
    statements = writing.Statements(store.dialect)
    with store.reads.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT snapshot FROM lots WHERE id = " + ("%s" if store.dialect == "postgresql" else "?"), (lot_id,)
        ).first()
        if row is None:
            raise NotFound(f"There is no lot {lot_id}.")
        lot = decode_lot(row[0])
        cursor = connection.connection.cursor()
        records = writing.read_results(cursor, statements, [lot.results_from or lot.id])
        undelivered = writing.read_undelivered(cursor, statements, [lot.id]).get(lot.id, ())
        tracks = read_tracks(cursor, statements, [pair_of(lot.item, lot.supplier)])
        suppliers = [] if lot.supplier is None else [lot.supplier]
        reference = Reference(read_reference(cursor, statements, [lot.item], suppliers))
    return lot, results_in_force(lot, records), undelivered, tracks, reference


def _guards(lot: Lot, trigger: str, today: int, undelivered: tuple[str, ...]) -> tuple[RuleVerdict, ...]:
    """The built-in guards that need no event: those of quantities are answered when one comes."""
    probe = ev.LotReleased(specversion="1.0", id="explain", source="lotgate", subject=lot.id)
    needs_event = trigger in ("consume", "split", "repack", "ship", "return")
    failing = list(
        decide.standing(lot, trigger, today) if needs_event else decide.guards(lot, probe, trigger, today, undelivered)
    )
    if trigger == "ship" and undelivered:
        failing.append(decide.outstanding(undelivered))
    return tuple(failing)

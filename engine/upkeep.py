"""What time itself brings about: shelf life ends, parked events are met or given up. Called by the clock process.

Time speaks in ordinary events (``source: lotgate/clock``), decided and journaled like any other.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import Select, delete, insert, select, update

from engine import events as ev
from engine.clock import Clock, instant
from engine.compensation import Compensation, Compensations
from engine.decoding import decode_event
from engine.drift import DriftLine
from engine.events import event_key
from engine.lot import decode_lot
from engine.pipeline import Pipeline
from engine.quality_lists import tell_of_overdue
from engine.store.opening import Store
from engine.store.schema.delivery import escalations
from engine.store.schema.lots import events, lots, parked
from engine.submission import submission
from engine.tasks import Tasks

#: Source of the events that time brings about.
CLOCK = "lotgate/clock"
#: Source of what targets did with their deliveries.
LEDGER = "lotgate/ledger"
#: Kind of the task that says that operations of a lot wait too long for one before them.
GAP = "operation-gap"
#: Lots or parked events that one round takes; the next round takes the rest.
ROUND = 500


def expire_lots(store: Store, pipeline: Pipeline, clock: Clock, today: date) -> int:
    """Submit ``lot.expired.v1`` for released lots whose last day has passed; gives how many were decided."""
    over = (
        select(lots.c.id, lots.c.expires_on)
        .where(lots.c.state == "released", lots.c.closed.is_(None), lots.c.expires_on < today.isoformat())
        .order_by(lots.c.id)
    )
    return _say_of(store, pipeline, clock, over, _expired)


def retest_lots(store: Store, pipeline: Pipeline, clock: Clock, today: date) -> int:
    """Submit ``lot.retest_due.v1`` for lots whose day of retest has come; gives how many were decided."""
    due = (
        select(lots.c.id, lots.c.retest_on)
        .where(lots.c.retest_on.is_not(None), lots.c.retest_on <= today.isoformat())
        .where(lots.c.closed.is_(None), lots.c.state != "shipped")
        .order_by(lots.c.retest_on)
    )
    return _say_of(store, pipeline, clock, due, _retest)


def end_concessions(store: Store, pipeline: Pipeline, clock: Clock, today: date) -> int:
    """Submit ``concession.ended.v1`` for released lots whose concession's last day has passed; gives how many."""
    over = (
        select(lots.c.id, lots.c.snapshot)
        .where(lots.c.concession_until < today.isoformat())
        .where(lots.c.state == "released", lots.c.closed.is_(None))
        .order_by(lots.c.id)
        .limit(ROUND)
    )
    with store.reads.connect() as connection:
        found = [decode_lot(row.snapshot) for row in connection.execute(over)]
    now = clock()
    ended = [
        ev.ConcessionEnded(
            specversion="1.0", id=f"{lot.id}/concession/{instant(now)}", source=CLOCK, subject=lot.id, time=now,
            data=ev.ConcessionEnd(concession=lot.concession.number, ended_on=lot.concession.valid_until),
        )
        for lot in found if lot.concession is not None
    ]  # fmt: skip
    for start in range(0, len(ended), 100):
        pipeline.process([submission(event, CLOCK) for event in ended[start : start + 100]])
    return len(ended)


def _say_of(
    store: Store, pipeline: Pipeline, clock: Clock, days: Select[Any],
    event_of: Callable[[str, date, datetime], ev.Event],
) -> int:
    """Submit what a day brings about for the lots that ``days`` finds, a round of them."""
    with store.reads.connect() as connection:
        found = [(str(i), date.fromisoformat(day)) for i, day in connection.execute(days.limit(ROUND))]
    now = clock()
    submissions = [submission(event_of(lot, day, now), CLOCK) for lot, day in found]
    for start in range(0, len(submissions), 100):
        pipeline.process(submissions[start : start + 100])
    return len(submissions)


def _expired(lot: str, day: date, now: datetime) -> ev.LotExpired:
    # The instant is part of the id: a lot that is released again after its expiry must expire again.
    return ev.LotExpired(
        specversion="1.0", id=f"{lot}/expired/{instant(now)}", source=CLOCK, subject=lot, time=now,
        data=ev.Expiry(expired_on=day),
    )  # fmt: skip


def _retest(lot: str, day: date, now: datetime) -> ev.LotRetestDue:
    return ev.LotRetestDue(
        specversion="1.0", id=f"{lot}/retest/{instant(now)}", source=CLOCK, subject=lot, time=now,
        data=ev.Retest(due_on=day),
    )  # fmt: skip


def take_up_parked(store: Store, pipeline: Pipeline) -> int:
    """Decide parked events whose lot has come meanwhile, in another process; gives how many needs were met."""
    met = (
        select(parked.c.waits_for)
        .distinct()
        .join(lots, parked.c.waits_for == "lot:" + lots.c.id)
        .limit(ROUND)
    )
    with store.reads.connect() as connection:
        needs = [str(need) for (need,) in connection.execute(met)]
    for need in needs:
        pipeline.process([], [need])
    return len(needs)


def tell_of_gaps(store: Store, clock: Clock) -> int:
    """Open a task for each lot whose operations wait too long for one before them; gives how many reports do.

    A task is closed when the gap is filled.
    """
    over = select(parked).where(parked.c.tell_at <= clock().timestamp()).order_by(parked.c.tell_at).limit(ROUND)
    tasks = Tasks(store, clock)
    with store.reads.connect() as connection:
        rows = list(connection.execute(over))
    for row in rows:
        event = decode_event(row.event.encode())
        waited = f"{event.source} reported it at {row.parked_at}, and it is parked since"
        if isinstance(event, ev.OperationReported):
            need = row.waits_for.rsplit("#" if "#" in row.waits_for else "|", 1)[-1]
            waited = f"operation {event.data.operation} waits for {need}: {waited}"
        tasks.open_once(GAP, row.subject, f"lot {row.subject}: {waited}")
    with store.engine.begin() as connection:
        mine = parked.c.key.in_([row.key for row in rows])
        connection.execute(update(parked).where(mine, parked.c.tell_at.is_not(None)).values(tell_at=None))
    _close_filled(store, tasks)
    return len(rows)


def _close_filled(store: Store, tasks: Tasks) -> None:
    open_ones = sorted({task.subject for task in tasks.lines(kind=GAP, limit=ROUND)})
    if not open_ones:
        return
    waiting = select(parked.c.subject).where(parked.c.subject.in_(open_ones), parked.c.waits_for.like("operation:%"))
    with store.reads.connect() as connection:
        still = {str(lot) for (lot,) in connection.execute(waiting)}
    for lot in open_ones:
        if lot not in still:
            tasks.close_about(GAP, "no operation of the lot waits any more", subject=lot)


def give_up_parked(store: Store, clock: Clock) -> int:
    """Answer parked events that waited too long, and open an escalation for each; gives how many."""
    now = clock()
    over = select(parked).where(parked.c.expires_at <= now.timestamp()).order_by(parked.c.expires_at).limit(ROUND)
    with store.engine.begin() as connection:
        rows = list(connection.execute(over))
        for row in rows:
            event = decode_event(row.event.encode())
            detail = f"Event {event.id} of {event.source} waited for {row.waits_for} since {row.parked_at}, in vain."
            answer = {"outcome": "expired", "lot": row.subject, "detail": detail, "recorded_at": instant(now)}
            connection.execute(delete(parked).where(parked.c.key == row.key))
            connection.execute(
                update(events)
                .where(events.c.key == row.key)
                .values(outcome="expired", status=200, answer=json.encode(answer).decode())
            )
            connection.execute(
                insert(escalations).values(
                    kind="parked-expired", subject=row.subject, detail=detail, opened_at=instant(now)
                )
            )
    return len(rows)


def compensate(store: Store, pipeline: Pipeline, clock: Clock) -> int:
    """Journal what targets refused for good, and end what they agree to again; gives how many were taken up.

    A crash in the middle repeats an event under its id, which changes nothing.
    """
    known = Compensations(store, clock)
    taken = 0
    for state, event_of in (("wanted", _refused), ("journaled", _agreed)):
        found = known.in_state(state)
        for start in range(0, len(found), 100):
            some = found[start : start + 100]
            # What was agreed to before it was journaled need not be.
            told = [c for c in some if state == "journaled" or c.agreed is None]
            if told:
                pipeline.process([submission(event_of(c, clock()), LEDGER) for c in told])
            known.mark([c.id for c in some if c.agreed is None], "journaled")
            known.mark([c.id for c in some if c.agreed is not None], "ended")
        taken += len(found)
    return taken


def _refused(wanted: Compensation, now: datetime) -> ev.Event:
    of = wanted.refused
    undo = msgspec.convert(of.undo, dict[str, ev.Shut])
    data = ev.RefusedDelivery(
        target=of.target, version=of.version, failure=msgspec.convert(of.failure, ev.Failure),
        detail=of.detail[:500], undo=undo,
    )  # fmt: skip
    return ev.DeliveryRefused(data=data, **_envelope(wanted, "refused", now))


def _agreed(standing: Compensation, now: datetime) -> ev.Event:
    data = ev.AgreedDelivery(target=standing.refused.target, version=standing.agreed or standing.refused.version)
    return ev.DeliveryAgreed(data=data, **_envelope(standing, "agreed", now))


def _envelope(of: Compensation, what: str, now: datetime) -> dict[str, Any]:
    refused = of.refused
    # The instant is part of the id: a status that is refused again is another compensation.
    identity = f"{refused.target}/{refused.version}/{what}/{of.opened_at}/{event_key('lot', refused.lot)}"
    return {
        "specversion": "1.0", "id": identity, "source": LEDGER, "subject": refused.lot, "time": now,
        "causationid": of.cause,
    }  # fmt: skip


def tell_again(pipeline: Pipeline, clock: Clock, found: Sequence[DriftLine]) -> None:
    """Journal what targets were found to say, and tell them again under a new version of each lot."""
    now = clock()
    told = [submission(_drifted(line, now), LEDGER) for line in found]
    for start in range(0, len(told), 100):
        pipeline.process(told[start : start + 100])


def _drifted(line: DriftLine, now: datetime) -> ev.Event:
    data = ev.DriftedTarget(
        target=line.target, kind=msgspec.convert(line.kind, ev.Repairable), version=line.version,
        expected=line.expected, observed=line.observed,
    )  # fmt: skip
    identity = f"{line.target}/{line.version}/drifted/{instant(now)}/{event_key('lot', line.lot)}"
    return ev.DeliveryDrifted(
        specversion="1.0", id=identity, source=LEDGER, subject=line.lot, time=now, data=data,
    )  # fmt: skip


def rounds(store: Store, pipeline: Pipeline, clock: Clock, today: date) -> Iterator[tuple[str, int]]:
    """One round of everything time brings about: (what, how many)."""
    yield "expired lots", expire_lots(store, pipeline, clock, today)
    yield "concessions that ended", end_concessions(store, pipeline, clock, today)
    yield "lots to be retested", retest_lots(store, pipeline, clock, today)
    yield "parked events taken up", take_up_parked(store, pipeline)
    yield "operations that wait too long", tell_of_gaps(store, clock)
    yield "parked events given up", give_up_parked(store, clock)
    yield "tasks of overdue records", tell_of_overdue(store, clock, today)

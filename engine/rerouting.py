"""Lots that go to targets which they did not go to before: nobody took them, or the target is new.

Run by the clock process. A status owed here is the newest of its lot; the committer may owe a newer one meanwhile,
which takes its place like any other.
"""

from collections.abc import Iterator

from sqlalchemy import insert, select

from engine.clock import instant
from engine.effects import encode_status, status_for
from engine.ledger import Delivery, Ledger
from engine.lot import Lot, decode_lot
from engine.routing import Routes, is_unrouted, nobody_takes
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries
from engine.store.schema.lots import lots

#: Lots taken at a time.
ROUND = 500
#: Long enough for one round.
LEASE_SECONDS = 60.0


def route_again(store: Store, ledger: Ledger, routes: Routes) -> int:
    """Give lots that nobody took to whoever takes them now; the others become dead letters. Gives how many of both."""
    number = 0
    for target in ledger.due():
        if not is_unrouted(target):
            continue
        claimed = ledger.claim(target, "lotgate/routing", ROUND, LEASE_SECONDS)
        known = _lots(store, [delivery.lot for delivery in claimed])
        for delivery in claimed:
            lot = known[delivery.lot]
            takers = routes.instead(lot, target)
            if takers:
                _owe(store, ledger, lot, takers, delivery)
            else:
                ledger.dead(delivery, f"{nobody_takes(target, lot)}: add a route, then replay", failure="permanent")
        number += len(claimed)
    return number


def look_again(store: Store, ledger: Ledger, routes: Routes) -> int:
    """After a change of the targets: what nobody took is routed again, and new targets are told of every open lot.

    Gives how many lots are newly owed to a target.
    """
    for target in ledger.dead_targets():
        if is_unrouted(target):
            ledger.replay(target=target)
    return sum(
        _owe(store, ledger, lot, (target,)) for target in routes.targets for lot in _strangers(store, target, routes)
    )


def _strangers(store: Store, target: str, routes: Routes) -> Iterator[Lot]:
    """Open lots that ``target`` takes and was never owed."""
    told = select(deliveries.c.id).where(deliveries.c.lot == lots.c.id, deliveries.c.target == target).exists()
    after = ""
    while True:
        query = select(lots.c.id, lots.c.snapshot).where(lots.c.id > after, lots.c.closed.is_(None), ~told)
        with store.reads.connect() as connection:
            rows = connection.execute(query.order_by(lots.c.id).limit(ROUND)).all()
        if not rows:
            return
        for _, snapshot in rows:
            lot = decode_lot(snapshot)
            if target in routes.of(lot):
                yield lot
        after = rows[-1].id


def _lots(store: Store, ids: list[str]) -> dict[str, Lot]:
    with store.reads.connect() as connection:
        rows = connection.execute(select(lots.c.id, lots.c.snapshot).where(lots.c.id.in_(ids))).all()
    return {str(identity): decode_lot(snapshot) for identity, snapshot in rows}


def _owe(store: Store, ledger: Ledger, lot: Lot, targets: tuple[str, ...], instead_of: Delivery | None = None) -> int:
    """Owe ``targets`` the status of ``lot``, those that are not owed that version; gives how many are newly owed."""
    now = ledger.now()
    with store.engine.begin() as connection:
        there = set(
            connection.execute(
                select(deliveries.c.target).where(deliveries.c.lot == lot.id, deliveries.c.version >= lot.version)
            ).scalars()
        )
        rows = [
            {
                "lot": lot.id, "version": lot.version, "target": target, "due_at": now.timestamp(),
                "payload": encode_status(status_for(lot, target)).decode(), "created_at": instant(now),
            }
            for target in targets if target not in there
        ]  # fmt: skip
        if rows:
            connection.execute(insert(deliveries), rows)
    if instead_of is not None:
        ledger.superseded(instead_of)
    return len(rows)

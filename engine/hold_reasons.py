"""Why lots may be held: the codes that a plant declares as reference data of kind ``hold-reason``.

Where there are any in force, people hold for one of them; others are refused where somebody can put it right at once.
A hold that a system sends as an event lands whatever it says: that goods are held matters more than why.
"""

from datetime import date

import msgspec

from engine.errors import EventInvalid
from engine.known import HoldReason
from engine.store import reference as stored
from engine.store.opening import Store


def declared(store: Store, today: date) -> dict[str, str]:
    """Code -> what it means, in force on the day; empty: every code will do."""
    day, found = today.isoformat(), {}
    with store.reads.connect() as connection:
        for row in stored.begun(connection, "hold-reason", day):
            ended = row.effective_until is not None and row.effective_until < day
            if not ended and row.content != "null":
                found[str(row.key)] = msgspec.json.decode(row.content, type=HoldReason).text
    return dict(sorted(found.items()))


def check_reason(store: Store, today: date, code: str, pointer: str = "/reason/code") -> None:
    """Raises EventInvalid for a code that is not declared, where any are."""
    known = declared(store, today)
    if known and code not in known:
        raise EventInvalid(f"{code} is no reason of this plant to hold; there are {', '.join(known)}.", pointer)

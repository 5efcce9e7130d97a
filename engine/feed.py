"""The change feed: every journal entry of every lot, once, in one order that all readers and processes agree on.

A reader that goes on after the id of the last change it has seen misses nothing and gets nothing twice, whatever was
restarted meanwhile: the ids come from the journal itself. The entries of one lot are in the order of their versions.
What may not enter: HTTP, waiting (api/feed.py).
"""

import re

import msgspec
from msgspec import Raw, Struct

from engine.store.feed import read_after, read_newest
from engine.store.opening import Store
from engine.upcasts import current, newest

#: (order of the commit, position in the journal): what comes after is newer.
Place = tuple[int, int]
#: Before everything.
START: Place = (0, 0)
_ID = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


class Change(Struct, frozen=True, omit_defaults=True):
    """One journal entry, as the feed tells it. Instants are ISO 8601, UTC; ``data`` is the event's data block.

    ``type`` and ``data`` are of the newest version of the type, whichever wrote the entry.
    """

    #: Where to go on after it.
    id: str
    lot: str
    version: int
    #: event (submitted and applied), consequence (Lotgate's own), refusal (submitted, changed nothing)
    kind: str
    type: str
    trigger: str
    state_before: str
    state_after: str
    item: str | None
    plant: str | None
    source: str
    event_id: str
    time: str | None
    recorded_at: str
    principal: str
    correlation_id: str | None
    causation_id: str | None
    data: Raw


class Interest(Struct, frozen=True):
    """Which changes a reader wants; None: any."""

    lot: str | None = None
    type: str | None = None
    kind: str | None = None
    item: str | None = None
    plant: str | None = None

    def takes(self, change: Change) -> bool:
        """Is it one of them?"""
        return (
            self.lot in (None, change.lot)
            and (self.type is None or newest(self.type) == change.type)
            and self.kind in (None, change.kind)
            and self.item in (None, change.item)
            and self.plant in (None, change.plant)
        )


def id_of(place: Place) -> str:
    """The id that stands for ``place``."""
    return f"{place[0]}.{place[1]}"


def place_of(identity: str) -> Place | None:
    """The place that an id stands for; None for what is no id."""
    match = _ID.fullmatch(identity)
    return None if match is None else (int(match[1]), int(match[2]))


class Feed:
    """The feed of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self) -> Place:
        """The place of the newest change."""
        return read_newest(self._store)

    def after(self, place: Place, limit: int) -> list[tuple[Place, Change]]:
        """Up to ``limit`` changes after ``place``, oldest first, each with its place.

        What was archived is among them; raises ArchiveUnavailable where that cannot be read.
        """
        rows = read_after(self._store, place, limit)
        changes = []
        for order, position, *columns, stored in rows:
            at = (int(order), int(position))
            columns[3], data = current(columns[3], stored.encode())
            changes.append((at, Change(*(id_of(at), *columns, Raw(data)))))
        return changes


encode_change = msgspec.json.Encoder().encode

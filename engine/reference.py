"""Reference data: what plants know apart from lots, revision by revision, each with the days on which it is in force.

Kept are inspection plans, facts of items and suppliers that rules look at (kinds of the vocabulary), and what other
systems say about shipments (engine/orders.py). A record is never changed: another revision takes its place from its
first day on, or it is withdrawn from a day on. Decisions see what is in force on their day. Of what changes by the
hour the newest revision stands. What may not enter: deciding, HTTP.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import Connection

from engine import events as ev
from engine import plan_problems, production, shelf_life, stated
from engine.clock import Clock, instant
from engine.errors import EventInvalid, LotgateError, NotFound
from engine.inspection_plan import InspectionPlan
from engine.known import KINDS, LIVE, Content, Known, ReferenceFact
from engine.orders import Allocation, Order, allocation_problem, order_problem
from engine.ownership import NotSystemOfRecord, Owners, check_owner, owners_of
from engine.plan_facts import KINDS as PLAN_KINDS
from engine.production import Routing
from engine.settings import Settings
from engine.shelf_life import ShelfLifeRule
from engine.store import reference as stored
from engine.store import writing
from engine.store.opening import Store
from rules.facts import Vocabulary

Key = Annotated[str, Meta(min_length=1, max_length=64)]
#: Lots that a dry run names.
MOST_SHOWN = 100
#: Contents that stay decoded.
REMEMBERED = 4_096
_ABOUT = InspectionPlan | ReferenceFact | ShelfLifeRule


class ReferenceConflict(LotgateError):
    """A record does not fit beside those there are: days that overlap, a plan for the same lots."""

    code = "reference-conflict"
    title = "The record does not fit beside those there are"
    status = 409


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A revision that somebody wants to be kept."""

    #: First day, and last day if there is one.
    effective_from: date
    #: Null: withdrawn from ``effective_from`` on.
    content: msgspec.Raw
    effective_until: date | None = None


class Record(Struct, frozen=True):
    """One revision of a record."""

    kind: str
    key: str
    revision: int
    effective_from: str
    effective_until: str | None
    #: Null: withdrawn.
    content: msgspec.Raw
    recorded_at: str
    recorded_by: str
    #: When its owner last said the same again; null: never.
    confirmed_at: str | None = None


class Affected(Struct, frozen=True, omit_defaults=True):
    """What a change would touch."""

    #: The first of the lots, and how many there are.
    lots: list[str] = []
    lots_number: int = 0
    #: Other inspection plans of the item.
    plans: list[str] = []
    #: Rules in force that look at what changes.
    rules: list[str] = []
    #: Signalled orders whose answer rests on it.
    orders: list[str] = []


class Kept(Struct, frozen=True):
    """What became of a revision: created, unchanged (it was kept before), or checked (a dry run)."""

    outcome: str
    record: Record
    #: Undecided lots that it is about; they keep the plan that they have.
    lots_in_work: int
    #: Of a dry run: what the change would touch.
    affects: Affected | None = None


def record_owners(settings: Settings) -> Owners:
    """Who owns what, by the settings. Raises SettingInvalid."""
    return owners_of(settings.record_owners, {kind: struct.__struct_fields__ for kind, struct in KINDS.items()})


_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(struct | None) for kind, struct in KINDS.items()
}
#: (kind, digest) -> content, the ones that were decoded first in front.
_decoded: OrderedDict[tuple[str, str], Any] = OrderedDict()


def read_reference(
    cursor: writing.Cursor, statements: writing.Statements, items: Iterable[str], suppliers: Iterable[str]
) -> list[Known]:
    """Every revision of what is known about ``items``, and about ``suppliers`` of whatever item."""
    rows = writing.read_reference(cursor, statements, items, suppliers)
    contents = {key: _decoded[key] for key in {(row[1], row[6]) for row in rows} & _decoded.keys()}
    missing = [int(row[0]) for row in rows if (row[1], row[6]) not in contents]
    texts = writing.read_reference_content(cursor, statements, missing) if missing else {}
    for row in rows:
        key, text = (row[1], row[6]), texts.get(int(row[0]))
        if text is not None and key not in contents:
            contents[key] = _decoded[key] = _decoders[row[1]].decode(text)
    while len(_decoded) > REMEMBERED:
        _decoded.popitem(last=False)
    return [
        Known(kind, key, revision, first, last, contents[kind, digest])
        for _, kind, key, revision, first, last, digest in rows
    ]


def live_content(kind: str, text: str) -> Any:
    """The content of a stored record, as its Struct; None: withdrawn."""
    return _decoders[kind].decode(text)


class References:
    """Reference data of one store."""

    def __init__(
        self, store: Store, clock: Clock, vocabulary: Callable[[], Vocabulary], owners: Owners,
        readers: Callable[[frozenset[str]], list[str]] | None = None,
    ) -> None:  # fmt: skip
        """``readers``: the rules in force that look at kinds of facts, by their ids."""
        self._store = store
        self._readers = readers
        self._owners = owners
        self._clock = clock
        self._vocabulary = vocabulary

    def put(self, kind: str, key: str, wanted: Wanted, by: str, *, dry_run: bool = False) -> Kept:
        """Keep a revision. The same again changes nothing.

        Raises NotFound for a kind there is not, EventInvalid for a content that does not fit, ReferenceConflict for
        days that overlap or a plan for lots that another plan is for, NotSystemOfRecord for what others own.
        """
        with self._store.engine.begin() as connection:
            stored.begin_writing(connection)
            return self._put(connection, kind, key, wanted, by, dry_run)

    def put_many(
        self, kind: str, wanted: Sequence[tuple[str, Wanted]], by: str, *, dry_run: bool = False
    ) -> list[Kept | LotgateError]:
        """Keep revisions, by key, in one transaction; what one is refused for spoils only itself."""
        found: list[Kept | LotgateError] = []
        with self._store.engine.begin() as connection:
            stored.begin_writing(connection)
            for key, one in wanted:
                try:
                    found.append(self._put(connection, kind, key, one, by, dry_run))
                except (EventInvalid, ReferenceConflict, NotFound, NotSystemOfRecord) as error:
                    found.append(error)  # nothing was written of it: every check comes first
        return found

    def _put(self, connection: Connection, kind: str, key: str, wanted: Wanted, by: str, dry_run: bool) -> Kept:
        content = self._content(kind, wanted)
        text = msgspec.json.encode(content).decode()
        digest = hashlib.sha256(text.encode()).hexdigest()
        first, now = wanted.effective_from.isoformat(), instant(self._clock())
        last = None if wanted.effective_until is None else wanted.effective_until.isoformat()
        if last is not None and last < first:
            raise EventInvalid(f"It would end on {last}, before it begins.", "/effective_until")
        rows = stored.read_revisions(connection, kind, key)
        about = _about(content) if content is not None else _about_row(rows)
        work = stored.in_work(connection, about[0], about[1]) if about[0] is not None else 0
        before = _plain(rows[-1].content) if rows else None
        check_owner(self._owners, kind, key, by, before, _plain(text), ends=last is not None)
        for row in rows[-1:] if kind in LIVE else rows:
            if (row.effective_from, row.effective_until, row.digest) == (first, last, digest):
                if not dry_run:
                    stored.confirm(connection, kind, key, now, by)
                return Kept("unchanged", _record(row, now), work)
        if kind in LIVE:
            _check_newest(rows, first)
        else:
            _check_days(rows, first, last)
        if content is None and not rows:
            raise NotFound(f"There is no {kind} {key} to withdraw.")
        if isinstance(content, InspectionPlan | Routing | ShelfLifeRule):
            others = stored.read_about(connection, kind, *about)
            _check_rivals(others, key, content, first)
        kept = {
            "kind": kind, "key": key, "revision": len(rows) + 1, "effective_from": first, "effective_until": last,
            "item": about[0], "supplier": about[1], "content": text, "digest": digest,
            "recorded_at": now, "recorded_by": by,
        }  # fmt: skip
        record = Record(kind, key, len(rows) + 1, first, last, msgspec.Raw(text.encode()), now, by)
        if dry_run:
            said = content if content is not None else live_content(kind, rows[-1].content)
            return Kept("checked", record, work, self._affected(connection, kind, key, said))
        stored.add(connection, kept)
        return Kept("created", record, work)

    def _affected(self, connection: Connection, kind: str, key: str, content: Content | None) -> Affected:
        if isinstance(content, Routing):
            # What is in work keeps the routing that it has.
            return Affected()
        if isinstance(content, InspectionPlan | ReferenceFact):
            is_plan = isinstance(content, InspectionPlan)
            # A plan is for lots that are not decided yet; a fact is seen by the rules of every lot that has not ended.
            lots, number = stored.lots_about(connection, content.item, content.supplier, MOST_SHOWN, undecided=is_plan)
            plans = [k for k in stored.plans_about(connection, content.item) if k != key] if content.item else []
            kinds = PLAN_KINDS if isinstance(content, InspectionPlan) else frozenset({content.kind})
            return Affected(lots, number, plans, [] if self._readers is None else self._readers(kinds), [])
        return Affected([], 0, [], [], stored.orders_about(connection, f"{kind}/{key}"))

    def check_kind(self, kind: str) -> None:
        """Raises NotFound for a kind that there is not."""
        _kind(kind)

    def revisions(self, kind: str, key: str) -> list[Record]:
        """Every revision of a record, oldest first. Raises NotFound."""
        _kind(kind)
        with self._store.reads.connect() as connection:
            rows = stored.read_revisions(connection, kind, key)
            confirmed = stored.confirmed(connection, kind, [key]).get(key)
        if not rows:
            raise NotFound(f"There is no {kind} {key}.")
        # It was the newest revision that was said again.
        return [_record(row) for row in rows[:-1]] + [_record(rows[-1], confirmed)]

    def affected(self, kind: str, key: str) -> Affected:
        """What a change of a record would touch, as it is now. Raises NotFound."""
        _kind(kind)
        with self._store.reads.connect() as connection:
            rows = stored.read_revisions(connection, kind, key)
            if not rows:
                raise NotFound(f"There is no {kind} {key}.")
            said = next((row.content for row in reversed(rows) if row.content != "null"), "null")
            return self._affected(connection, kind, key, live_content(kind, said))

    def page(
        self, kind: str, day: str, item: str | None, after: str, limit: int, *, begins: str | None = None
    ) -> tuple[list[Record], str | None]:
        """Records in force on ``day``, by key, and the key to go on from; others are left out.

        ``begins``: only keys that begin so.
        """
        _kind(kind)
        keys = stored.page(self._store, kind, item, after, limit + 1, begins)
        found = []
        with self._store.reads.connect() as connection:
            newest = stored.read_newest(connection, kind, keys[:limit], day)
        for row in (newest[key] for key in keys[:limit] if key in newest):
            ended = row.effective_until is not None and row.effective_until < day
            if not ended and row.content != "null":
                found.append(_record(row))
        return found, keys[limit - 1] if len(keys) > limit else None

    def _content(self, kind: str, wanted: Wanted) -> Content | None:
        struct = _kind(kind)
        if bytes(wanted.content) == b"null":
            return None
        try:
            content = msgspec.json.decode(wanted.content, type=struct)
        except msgspec.ValidationError as error:
            raise EventInvalid(str(error), "/content") from None
        problem: tuple[str, str] | None = None
        if isinstance(content, InspectionPlan):
            problem = plan_problems.problem_of(content)
        elif isinstance(content, ReferenceFact):
            problem = _fact_problem(content, self._vocabulary())
        elif isinstance(content, Routing):
            problem = production.problem_of(content)
        elif isinstance(content, ShelfLifeRule):
            problem = shelf_life.problem_of(content)
        elif isinstance(content, Order):
            problem = order_problem(content)
        elif isinstance(content, Allocation):
            problem = allocation_problem(content)
        if problem is not None:
            raise EventInvalid(problem[1][:1].upper() + problem[1][1:] + ".", "/content" + problem[0])
        return content


def _kind(kind: str) -> type[Content]:
    if kind not in KINDS:
        raise NotFound(f"There is no kind of reference data {kind}; there are {', '.join(KINDS)}.")
    return KINDS[kind]


def _fact_problem(fact: ReferenceFact, vocabulary: Vocabulary) -> tuple[str, str] | None:
    if fact.item is None and fact.supplier is None:
        return "/item", "say of which item or supplier"
    data = ev.FactStatement(kind=fact.kind, fields=fact.fields)
    problem = stated.problem_of({}, data, vocabulary, stated.LOT_FIELDS)
    return None if problem is None else ("/fields", problem.rstrip("."))


def _about(content: Content) -> tuple[str | None, str | None]:
    if isinstance(content, Routing):
        return content.item, None
    return (content.item, content.supplier) if isinstance(content, _ABOUT) else (None, None)


def _plain(text: str) -> Any:
    return msgspec.json.decode(text)


def _about_row(rows: list[stored.Row]) -> tuple[str | None, str | None]:
    return (rows[-1].item, rows[-1].supplier) if rows else (None, None)


def _check_days(rows: list[stored.Row], first: str, last: str | None) -> None:
    for row in rows:
        began, ended = row.effective_from, row.effective_until
        where = f"revision {row.revision} is in force from {began}" + (f" to {ended}" if ended else " on")
        if began == first:
            raise ReferenceConflict(f"Another begins on the same day: {where}.")
        earlier_reaches_in = began < first and ended is not None and ended >= first
        reaches_into_later = began > first and last is not None and last >= began
        if earlier_reaches_in or reaches_into_later:
            raise ReferenceConflict(f"The days overlap: {where}.")


def _check_newest(rows: list[stored.Row], first: str) -> None:
    if rows and first < rows[-1].effective_from:
        newest = f"revision {rows[-1].revision} is in force from {rows[-1].effective_from}"
        raise ReferenceConflict(f"A newer one is known: {newest}.")


def _check_rivals(
    others: list[stored.Row], key: str, plan: InspectionPlan | Routing | ShelfLifeRule, first: str
) -> None:
    """No other record may be for the same lots, now or later: nobody could tell which one holds."""
    newest: dict[str, stored.Row] = {}
    for row in others:
        newest[row.key] = row
    for row in newest.values():
        if row.key == key or row.content == "null":
            continue
        other = msgspec.json.decode(row.content, type=type(plan))
        ended = row.effective_until is not None and row.effective_until < first
        same = all(getattr(other, name, "") == getattr(plan, name, "") for name in ("kind", "operation", "revision"))
        if same and not ended:
            what = row.kind.replace("inspection-", "").replace("-", " ")
            raise ReferenceConflict(f"The {what} {row.key} is for the same lots; revise or withdraw that one.")


def _record(row: stored.Row, confirmed_at: str | None = None) -> Record:
    return Record(
        row.kind, row.key, row.revision, row.effective_from, row.effective_until, msgspec.Raw(row.content.encode()),
        row.recorded_at, row.recorded_by, confirmed_at,
    )  # fmt: skip

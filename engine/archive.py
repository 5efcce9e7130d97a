"""The archive: what leaves the journal, when, and how nothing is lost on the way.

A lot that is closed for long, and about which nothing is open, goes as a whole: its entries and the deliveries that are
over are written into a segment (engine/segments.py), which is on the disk and was read back before the first row is
deleted. Then, a few lots a transaction, the index says where they are and the rows go; the database lets no row go of
which the index says nothing. A crash leaves each lot in the journal or in the archive, and at worst a file that nobody
needs. What stays: the lot, its holds, results, links and events, and the newest that each target agreed to. So a lot
that is archived takes a hold like any other: its next entry goes on where the archive ends. What may not enter: SQL.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.clock import Clock, instant
from engine.errors import ArchiveUnavailable, EventInvalid, NotFound
from engine.journal import verify_lot
from engine.lot import decode_lot
from engine.seals import Sealer
from engine.segments import SUFFIX, Stretch, Told, Written, part_name, path_of, read_manifest, read_part, write
from engine.settings import ARCHIVE_LEAST_DAYS
from engine.store import archive as stored
from engine.store.archive import SegmentLine, Where
from engine.store.archived import Archived
from engine.store.opening import Store
from engine.store.rulesets import read_files
from engine.subscriptions import is_subscription

#: Nothing younger goes: business numbers look back so far, and what is under way is younger still.
LEAST_DAYS = ARCHIVE_LEAST_DAYS
#: Lots of one segment, and entries that end it before.
SEGMENT_LOTS, SEGMENT_ENTRIES = 1_000, 50_000
#: Lots that one transaction moves: others wait for it as long.
MOVED_AT_ONCE = 20
#: Lots that are looked at, or read, at a time.
LOOKED_AT_ONCE = 500
#: Segments that the clock makes are full, or as old as that.
WEEK_DAYS = 7
#: Lots that one order archives unless it says otherwise.
USUAL_LIMIT = 10_000

#: Why a lot stays, in words.
WHY: dict[str, str] = {
    "open": "not closed",
    "recent": "went on after that day",
    "held": "a hold stands",
    "recall": "a recall is open",
    "record": "a nonconformance, deviation or corrective action is open",
    "task": "a task about it is open",
    "delivery": "a system or a webhook has not acknowledged",
    "dispute": "a system says otherwise, or refused it",
    "parked": "an event waits for it",
    "spreading": "a hold is being passed on in its family",
    "webhook": "a webhook that is switched off has still to be told",
    "uncounted": "the track record has still to count it",
    "newest": "it has the newest entry or delivery of all",
    "segment": "its earlier entries are in a segment that cannot be read",
    "rules": "a rule set that judged it is not stored",
    "broken": "its journal does not hold: see `lotgate verify`",
}


class ArchiveRun(Struct):
    """What was archived, or would be."""

    #: Nothing was written.
    dry_run: bool
    #: Lots that went on after it stay.
    closed_before: str
    #: Lots that began before it and of which the journal has entries: those that were looked at.
    looked_at: int = 0
    eligible: int = 0
    #: Reason -> lots that it keeps; a lot may be kept by several.
    kept: dict[str, int] = {}
    #: Lots and entries that were archived, into which segments, of how many bytes.
    lots: int = 0
    entries: int = 0
    segments: list[str] = []
    bytes: int = 0


class Figures(Struct, frozen=True):
    """How large the archive is."""

    segments: int
    bytes: int
    lots: int
    oldest_at: str | None
    #: Segments whose file is not there.
    missing: int


class SegmentState(Struct, frozen=True):
    """A segment, and whether its file is there."""

    segment: SegmentLine
    #: Why its file cannot be used; null: it is there and whole as far as its manifest goes.
    problem: str | None


class ArchiveState(Struct, frozen=True):
    """The archive as a whole."""

    folder: str
    lots: int
    bytes: int
    #: When the oldest entry in it was recorded.
    oldest_at: str | None
    segments: list[SegmentState]
    #: Files in the folder that the index does not know: what is in them is in the journal, too.
    unknown: list[str]


def check_age(before: datetime, now: datetime) -> str:
    """``before`` as an instant. Raises EventInvalid for one that is too young."""
    if before > now - timedelta(days=LEAST_DAYS):
        least = (now - timedelta(days=LEAST_DAYS)).date().isoformat()
        raise EventInvalid(
            f"Lots stay for {LEAST_DAYS} days after their last entry, for business numbers look back so far: "
            f"say {least} or earlier.", "/closed_before",
        )  # fmt: skip
    return instant(before)


class Archiver:
    """Moves lots of one store into its archive, and back."""

    def __init__(self, store: Store, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._archived = Archived(store)

    # -- into the archive --------------------------------------------------------------------------------------

    def run(
        self, before: str, by: str, *, limit: int = USUAL_LIMIT, least: int = 1, dry_run: bool = False,
        go_on: Callable[[], bool] = lambda: True,
    ) -> ArchiveRun:  # fmt: skip
        """Archive up to ``limit`` lots whose last entry was recorded before an instant.

        ``least``: no segment is made for fewer. ``go_on`` is asked between transactions. Raises OSError when the
        segment cannot be written: nothing has happened then to the lots of it.
        """
        report = ArchiveRun(dry_run, before)
        batch: list[str] = []
        for lot in self._eligible(before, report):
            report.eligible += 1
            if dry_run:
                continue
            batch.append(lot)
            full = len(batch) == SEGMENT_LOTS
            if full or report.eligible == limit:
                self._archive(batch, before, by, report, go_on)
                batch = []
            if report.eligible == limit or not go_on():
                break
        if len(batch) >= least and go_on():
            self._archive(batch, before, by, report, go_on)
        return report

    def keep_up(self, days: int, by: str, go_on: Callable[[], bool] = lambda: True) -> ArchiveRun:
        """What the clock does: whole segments, and once a week whatever there is. Raises OSError."""
        now = self._clock()
        with self._store.reads.connect() as connection:
            made = stored.totals(connection)[4]
        due = made is None or made < instant(now - timedelta(days=WEEK_DAYS))
        before = check_age(now - timedelta(days=days), now)
        return self.run(before, by, least=1 if due else SEGMENT_LOTS, go_on=go_on)

    def _eligible(self, before: str, report: ArchiveRun) -> Iterator[str]:
        after = 0
        with self._store.reads.connect() as connection:
            last = stored.upto(connection, before)
        while True:
            # A connection a page: a long transaction would keep SQLite's log from being folded back.
            with self._store.reads.connect() as connection:
                begun = stored.beginnings(connection, after, last, LOOKED_AT_ONCE)
                standing = stored.against(connection, [lot for _, lot in begun], before)
            if not begun:
                return
            for _, lot in begun:
                row = standing.get(lot)
                if row is None:
                    continue  # only refusals of what never came
                report.looked_at += 1
                if not self._keeps(row, report):
                    yield lot
            after = begun[-1][0]

    def _keeps(self, row: Any, report: ArchiveRun) -> bool:
        reasons = [name for name in stored.REASONS if getattr(row, f"against_{name}")]
        for name in reasons:
            report.kept[name] = report.kept.get(name, 0) + 1
        return bool(reasons)

    def _archive(
        self, lots: Sequence[str], before: str, by: str, report: ArchiveRun, go_on: Callable[[], bool]
    ) -> None:
        rest = list(lots)
        while rest and go_on():
            stretches, rules, taken = self._gather(rest, report)
            rest = rest[taken:]
            if stretches:
                self._write_and_move(stretches, rules, before, by, report, go_on)

    def _write_and_move(
        self, stretches: Sequence[Stretch], rules: dict[str, dict[str, str]], before: str, by: str, report: ArchiveRun,
        go_on: Callable[[], bool],
    ) -> None:  # fmt: skip
        written = write(self._store.archive, stretches, rules, self._sealer, instant(self._clock()), by)
        self._read_back(written, stretches)
        spots = {lot: (part, line) for lot, _, _, part, line in written.lots}
        moved = 0
        for start in range(0, len(stretches), MOVED_AT_ONCE):
            if not go_on():
                break
            began = time.perf_counter()
            moved += self._move(written, stretches[start : start + MOVED_AT_ONCE], spots, before, report)
            # As long as others may have waited: they come first.
            time.sleep(time.perf_counter() - began)
        if moved:
            report.segments.append(written.name)
            report.bytes += written.bytes

    def _gather(
        self, lots: Sequence[str], report: ArchiveRun
    ) -> tuple[list[Stretch], dict[str, dict[str, str]], int]:
        """What is written of ``lots``, each verified once more, the rule sets that judged, and of how many it is."""
        found: list[Stretch] = []
        rules: dict[str, dict[str, str]] = {}
        entries = taken = 0
        for start in range(0, len(lots), MOVED_AT_ONCE):
            some = lots[start : start + MOVED_AT_ONCE]
            with self._store.moments.connect() as connection:
                standing = stored.against(connection, some, report.closed_before)
                placed = stored.entries_of(connection, some)
                told = stored.deliveries_of(connection, some)
                earlier, unread = self._archived.readable(connection, some)
                named = {p.entry.rule_set for mine in placed.values() for p in mine} - rules.keys()
                rules |= {d: files for d in named if (files := read_files(connection, d)) is not None}
            for lot in some:
                if not placed[lot]:
                    report.eligible -= 1
                    continue  # another process archived it
                ends = decode_lot(standing[lot].snapshot)
                begins = earlier[lot][-1].ends if lot in earlier else None
                stretch = Stretch(lot, begins, ends, placed[lot], over(told[lot]))
                why = "segment" if lot in unread else _unsound(stretch, rules.keys())
                if why is not None:
                    report.kept[why] = report.kept.get(why, 0) + 1
                    report.eligible -= 1
                    continue
                found.append(stretch)
                entries += len(stretch.entries)
            taken = start + len(some)
            if entries >= SEGMENT_ENTRIES:
                break
        used = {p.entry.rule_set for stretch in found for p in stretch.entries}
        return found, {digest: files for digest, files in rules.items() if digest in used}, taken

    def _read_back(self, written: Written, stretches: Sequence[Stretch]) -> None:
        """Is on the disk what was to be written? Raises ArchiveUnavailable."""
        folder, number = self._store.archive, 0
        read: list[Stretch] = []
        while part_name(number) in written.manifest.files:
            read += read_part(folder, written.name, number)
            number += 1
        if read != list(stretches):
            raise ArchiveUnavailable(
                f"Segment {written.name[:16]} does not hold what was written into it; nothing was archived. "
                f"Look at the disk of {folder}."
            )

    def _move(
        self, written: Written, stretches: Sequence[Stretch], spots: dict[str, tuple[int, int]],
        before: str, report: ArchiveRun,
    ) -> int:  # fmt: skip
        lots = [stretch.lot for stretch in stretches]
        with self._store.engine.begin() as connection:
            stored.lock(connection, lots)
            standing = stored.against(connection, lots, before)
            told = stored.deliveries_of(connection, lots)
            there = {(w.lot, w.first) for mine in stored.where(connection, lots).values() for w in mine}
            # Whatever was decided or sent meanwhile keeps its lot where it is, and so does who archived it before us.
            same = [
                s for s in stretches
                if standing[s.lot].version == s.last and not self._keeps(standing[s.lot], report)
                and over(told[s.lot]) == s.deliveries and (s.lot, s.first) not in there
            ]  # fmt: skip
            if not same:
                return 0
            number = stored.keep_segment(connection, written)
            gone = stored.move(connection, number, {spots[s.lot]: s for s in same})
            wanted = sum(len(s.entries) for s in same)
            if gone != wanted:
                words = f"{gone} entries left the journal where {wanted} were to"
                raise ArchiveUnavailable(f"{words}; these lots were not archived.")
        report.lots += len(same)
        report.entries += gone
        return len(same)

    # -- and back ----------------------------------------------------------------------------------------------

    def restore(self, *, segment: str | None = None, lot: str | None = None) -> tuple[int, int]:
        """Bring back the lots of a segment, or one lot, into the journal; gives lots and entries.

        Raises NotFound, and ArchiveUnavailable for a segment that cannot be read. The file stays where it is.
        """
        with self._store.moments.connect() as connection:
            wanted = self._wanted(connection, segment, lot)
        lots = entries = 0
        for start in range(0, len(wanted), MOVED_AT_ONCE):
            some = wanted[start : start + MOVED_AT_ONCE]
            with self._store.engine.begin() as connection:
                stored.lock(connection, [one.lot for one in some])
                for one in some:
                    there = [w for w in stored.where(connection, [one.lot]).get(one.lot, ()) if w == one]
                    if not there:
                        continue
                    stretch = read_part(self._store.archive, one.name, one.part)[one.line]
                    stored.restore(connection, one, stretch.entries, stretch.deliveries)
                    lots, entries = lots + 1, entries + len(stretch.entries)
        return lots, entries

    def _wanted(self, connection: Any, segment: str | None, lot: str | None) -> list[Where]:
        if lot is not None:
            found = {lot: stored.where(connection, [lot]).get(lot, [])}
            if not found[lot]:
                raise NotFound(f"The archive has nothing of lot {lot}.")
            first = {lot: 1}
        else:
            first = {one.lot: one.first for one in stored.where_in(connection, self.find(segment or ""))}
            found = stored.where(connection, sorted(first))
        # What is in the journal always begins where the archive ends: later stretches come back, too, and first.
        return [one for lot, mine in found.items() for one in mine[::-1] if one.first >= first[lot]]

    def find(self, begins: str) -> str:
        """The whole name of a segment. Raises NotFound where none, or several, begin so."""
        with self._store.reads.connect() as connection:
            names = stored.names(connection)
        found = [name for name in names if begins and name.startswith(begins.removesuffix(SUFFIX))]
        if len(found) != 1:
            many = "More than one segment" if found else "No segment"
            raise NotFound(f"{many} of the archive begins with {begins!r}.")
        return found[0]

    # -- what there is -----------------------------------------------------------------------------------------

    def state(self) -> ArchiveState:
        """Every segment, and whether its file is there."""
        folder = self._store.archive
        with self._store.reads.connect() as connection:
            lines = stored.segments(connection)
            _, size, _, oldest, _ = stored.totals(connection)
        lots = sum(line.indexed for line in lines)
        names = {line.name for line in lines}
        unknown = sorted(p.name for p in folder.glob(f"*{SUFFIX}") if p.stem not in names) if folder.is_dir() else []
        states = [SegmentState(line, _problem(folder, line.name)) for line in lines]
        return ArchiveState(str(folder), lots, size, oldest, states, unknown)


def figures(store: Store) -> Figures:
    """How large the archive of ``store`` is; looks at no file but whether it is there."""
    with store.reads.connect() as connection:
        number, size, lots, oldest, _ = stored.totals(connection)
        names = stored.names(connection)
    missing = sum(1 for name in names if not path_of(store.archive, name).is_file())
    return Figures(number, size, lots, oldest, missing)


def over(told: Sequence[Told]) -> list[Told]:
    """Of all deliveries of a lot those that may go: all but the newest, and the newest agreed to, of each system."""
    stays: set[int] = set()
    for target in {t.target for t in told if not is_subscription(t.target)}:
        mine = [t for t in told if t.target == target]
        agreed = [t for t in mine if t.state == "delivered"]
        stays.add(max(mine, key=lambda t: t.version).id)
        if agreed:
            stays.add(max(agreed, key=lambda t: t.version).id)
    return [t for t in told if t.id not in stays]


def _unsound(stretch: Stretch, known: Any) -> str | None:
    if any(p.entry.rule_set not in known for p in stretch.entries):
        return "rules"
    _, broken = verify_lot(stretch.lot, [p.entry for p in stretch.entries], stretch.ends, stretch.begins)
    return None if broken is None else "broken"


def _problem(folder: Path, name: str) -> str | None:
    try:
        read_manifest(folder, name)
    except ArchiveUnavailable as error:
        return error.detail
    return None



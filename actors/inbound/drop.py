"""Files that were dropped: every row becomes what its inbound file says, and the file is archived.

    taken → rows → events and records (each safe to repeat) → what was refused, beside why → archive

Killed between any two of these, the file is taken again: what is known changes nothing, and the reports come out the
same. Only "come again later" leaves a file where it is. What may not enter: HTTP.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any, BinaryIO

from msgspec import Struct

from actors.inbound.folder import Folder, NoFile, Settling, digest_of, kept_name, shown
from actors.inbound.format import Inbound
from actors.inbound.rows import RecordRow, Row, RowWrong, become, grouped
from actors.inbound.sink import Result, Sink
from actors.inbound.tables import Content, FileRefused, read, write
from engine.events import Event

#: Rows that go together, so that a process that is told to stop does so in time.
TOGETHER = 100


class Stopped(Exception):
    """The process was told to stop: the rest comes next time."""


class Wrong(Struct, frozen=True):
    """A row that was not taken: where it stands, what is to blame, why."""

    row: int
    column: str
    detail: str
    #: The answer stands in the journal and never changes.
    decided: bool = False


class Outcome(Struct):
    """What became of a file, or of what was fetched."""

    name: str
    rows: int = 0
    #: applied, known, parked, created, unchanged … and how many
    counts: dict[str, int] = {}
    wrong: list[Wrong] = []
    #: Why nothing of it could be used.
    problem: str = ""
    #: Where it was kept.
    kept: str = ""

    def words(self) -> str:
        """One line for people and logs."""
        if self.problem:
            return f"{self.name}: refused: {self.problem}"
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
        return f"{self.name}: {self.rows} rows" + (f": {counts}" if counts else "")


def go_through(
    inbound: Inbound, rows: Sequence[Row], sink: Sink, timezone: tzinfo, stopped: Callable[[], bool] = lambda: False
) -> tuple[Counter[str], list[tuple[Row, Wrong]]]:
    """Hand over every row; what became of them, and those that were not taken. Raises what the sink raises."""
    counts: Counter[str] = Counter()
    wrong: list[tuple[Row, Wrong]] = []
    groups = grouped(inbound, rows)
    for start in range(0, len(groups), TOGETHER):
        if stopped():
            raise Stopped
        made: list[tuple[list[Row], Event | RecordRow]] = []
        for group in groups[start : start + TOGETHER]:
            try:
                made.append((group, become(inbound, *group, timezone=timezone)))
            except RowWrong as error:
                wrong += [(row, _blamed(row, error)) for row in group]
        for (group, _), result in zip(made, _handed(sink, [one for _, one in made]), strict=True):
            if result.outcome == "refused":
                wrong += [(row, Wrong(row.number, "", result.detail, result.decided)) for row in group]
            else:
                counts[result.outcome] += 1
    if wrong:
        counts["rejected"] = len(wrong)
    wrong.sort(key=lambda pair: pair[0].number)
    return counts, wrong


def _blamed(row: Row, error: RowWrong) -> Wrong:
    """Rows that are one event go together or not at all: dropped again, it must be the same event."""
    if error.row is None or error.row == row.number:
        return Wrong(row.number, error.column, error.detail)
    return Wrong(row.number, "", f"it is one event with row {error.row}, which cannot be used")


def _handed(sink: Sink, made: Sequence[Event | RecordRow]) -> list[Result]:
    events = [one for one in made if isinstance(one, Event)]
    records = [one for one in made if isinstance(one, RecordRow)]
    # A file has one or the other: the order of the rows is the order of the results.
    return sink.events(events) if events else sink.records(records)


def read_file(inbound: Inbound, name: str, file: BinaryIO) -> Content:
    """The rows of a file. Raises FileRefused."""
    most = (inbound.drop.max_mb if inbound.drop is not None else 0) * 1_000_000
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > most:
        raise FileRefused(f"{name} has {size} bytes, and at most {most} are read; drop it in parts, or set drop.max_mb")
    return read(inbound, file)


class Dropped(Struct):
    """One drop: what its folder has, round by round."""

    inbound: Inbound
    sink: Sink
    timezone: tzinfo
    settling: Settling
    stopped: Callable[[], bool] = lambda: False

    def round(self, folder: Folder, now: float) -> list[Outcome]:
        """Take what has settled, and go through whatever is taken. Raises what the sink raises, and Stopped."""
        drop = self.inbound.drop
        for name in self.settling.settled(folder.dropped(drop.files), now) if drop is not None else ():
            folder.take(name)
        return [self.one(folder, name) for name in folder.taken()]

    def one(self, folder: Folder, name: str) -> Outcome:
        """Go through one taken file, and put it away."""
        outcome = Outcome(shown(name))
        try:
            taken = folder.read(name)
        except NoFile as error:
            # Dropped as a file and exchanged for a link in the last moment: moved as what it is, never followed.
            folder.move_to_rejected(name, name)
            outcome.problem, outcome.kept = shown(str(error)), shown(name)
            return outcome
        with taken as file:
            stem, suffix = kept_name(name, digest_of(file))
            try:
                content = read_file(self.inbound, shown(name), file)
            except FileRefused as error:
                outcome.problem = str(error)
                outcome.wrong = [Wrong(0, "", outcome.problem)]
                folder.reject(stem, {".errors.csv": report(outcome.wrong)})
                folder.move_to_rejected(name, stem + suffix)
                outcome.kept = stem + suffix
                return outcome
        counts, wrong = go_through(self.inbound, content.rows, self.sink, self.timezone, self.stopped)
        outcome.rows, outcome.counts, outcome.wrong = len(content.rows), dict(counts), [one for _, one in wrong]
        if wrong:
            again = io.BytesIO()
            write(self.inbound, content, [row for row, _ in wrong], again)
            # The report comes last: where it is, the rows are.
            folder.reject(stem, {suffix: again.getvalue(), ".errors.csv": report(outcome.wrong)})
        folder.archive(name, stem + suffix)
        outcome.kept = stem + suffix
        return outcome


def report(wrong: Sequence[Wrong]) -> bytes:
    """Why rows were not taken, as a table for people."""
    text = io.StringIO(newline="")
    writer: Any = csv.writer(text)
    writer.writerow(("row", "column", "why"))
    writer.writerows((one.row or "", one.column, one.detail) for one in wrong)
    return text.getvalue().encode("utf-8-sig")



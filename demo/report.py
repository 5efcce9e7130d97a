"""What the story shows at its end: one struct, as tables for people or as JSON."""

from collections import Counter
from math import ceil
from typing import TextIO

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table


class Refused(Struct, frozen=True):
    """An attempt that Lotgate refused. `rules` are those that refused, each with its message."""

    lot: str
    event: str
    code: str
    gate: str | None
    rules: list[str]
    detail: str


class Held(Struct, frozen=True):
    """A lot that was not refused but stopped: a hold on arrival, or a failed inspection."""

    lot: str
    because: list[str]


class Seconds(Struct, frozen=True):
    """Seconds from commit to agreement of ERP and WMS, over `lots` lots."""

    lots: int
    median: float
    p95: float
    max: float

    @classmethod
    def of(cls, measured: list[float]) -> "Seconds | None":
        """Nearest-rank percentiles; None when nothing was measured."""
        if not measured:
            return None
        ordered = sorted(measured)
        last = len(ordered) - 1
        return cls(len(ordered), ordered[last // 2], ordered[ceil(0.95 * len(ordered)) - 1], ordered[last])


class Report(Struct, frozen=True):
    """The end of the story. Counts by name; deliveries by target, then by state."""

    run: str
    events: int
    answers: dict[str, int]
    lots_by_state: dict[str, int]
    refused: list[Refused]
    held: list[Held]
    deliveries: dict[str, dict[str, int]]
    seconds_to_agreement: Seconds | None
    lots: int
    lots_that_agree: int
    disagreeing: list[str]

    @property
    def closing_line(self) -> str:
        return f"ERP and WMS agree with Lotgate on {self.lots_that_agree} of {self.lots} lots"


def write_json(report: Report, out: TextIO) -> None:
    out.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")


def write_tables(report: Report, out: TextIO) -> None:
    """The tables and the closing line."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else 120)
    console.print()
    console.print(_counts(f"Lots of run {report.run}", "state", report.lots_by_state))
    console.print(_counts(f"Answers to {report.events} events", "answer", report.answers))
    console.print(_refusals(report))
    console.print(_stopped(report))
    console.print(_deliveries(report))
    seconds = report.seconds_to_agreement
    if seconds is not None:
        console.print(
            f"From commit to ERP and WMS agreement: median {seconds.median:.3f} s, p95 {seconds.p95:.3f} s, "
            f"max {seconds.max:.3f} s ({seconds.lots} lots)"
        )
    if report.disagreeing:
        console.print(f"Not yet agreed: {', '.join(report.disagreeing[:10])}", markup=False)
    console.print(report.closing_line)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", min_width=len(title))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _counts(title: str, name: str, counts: dict[str, int]) -> Table:
    table = _table(title, name, "count")
    for key, count in counts.items():
        table.add_row(key, str(count))
    return table


def _refusals(report: Report) -> Table:
    table = _table("Refused attempts", "lot", "event", "answer", "refused by")
    for refused in report.refused:
        table.add_row(refused.lot, refused.event, refused.code, "\n".join(refused.rules) or refused.detail)
    return table


def _stopped(report: Report) -> Table:
    """Lots that are blocked, told by reason: there may be many with the same one."""
    table = _table("Blocked lots", "because", "lots", "for example")
    reasons = Counter(reason for held in report.held for reason in held.because)
    for reason, count in reasons.most_common():
        example = next(held.lot for held in report.held if reason in held.because)
        table.add_row(reason, str(count), example)
    return table


def _deliveries(report: Report) -> Table:
    states = sorted({state for counts in report.deliveries.values() for state in counts})
    table = _table("Deliveries", "target", *states)
    for target, counts in sorted(report.deliveries.items()):
        table.add_row(target, *(str(counts.get(state, 0)) for state in states))
    return table

"""Reconciliation: targets are read back and compared with what they agreed to; what drifted is told again, or a task.

A lot is compared only while nothing is owed to the target, and a difference counts only if nothing was told meanwhile.
Telling again is an ordinary delivery under a new version of the lot, journaled with what was found, so it keeps order,
rate and retries like any other. A target is never told that something may be done because it says so: Lotgate's
decision stands. What may not enter: how a target is asked (actors/connectors/readback.py).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from actors.connectors.format import Connector, load, values
from actors.connectors.protocols import reader_of
from actors.connectors.readback import (
    Members,
    NotRead,
    ReadBack,
    TargetReader,
    differing,
    has_left,
    period_seconds,
    version_of,
)
from actors.pace import Rate
from engine.clock import Clock, instant
from engine.drift import Agreed, Drift, DriftLine, Reading
from engine.ledger import Ledger
from engine.pipeline import Pipeline
from engine.settings import Settings
from engine.tasks import Tasks
from engine.upkeep import tell_again

log = logging.getLogger("lotgate.reconcile")

#: Lots whose agreed status is loaded at a time.
CHUNK = 500
#: Reads a second where the connector file has no limit: a target has other work than to be read.
READS_PER_SECOND = 200.0
#: Told again this often without effect, a lot needs somebody.
REPAIRS_IN_VAIN = 3
#: How long to wait between looks at whether the process is to stop.
TICK_SECONDS = 0.2
#: A target without a ``read_back`` part cannot be reconciled.
NO_PART = "{name}.yaml has no read_back part, so {name} cannot be read back."
#: What people are told, by kind of drift.
WORDS = {
    "differs": "{target} fell behind on lot {lot}",
    "changed-by-hand": "somebody changed lot {lot} in {target} by hand",
    "left-while-blocked": "lot {lot} has left {target}, though it must not",
    "unknown-lot": "{target} does not know lot {lot} any more",
}


class Reconciler(Struct):
    """Everything that reading targets back needs."""

    settings: Settings
    drift: Drift
    ledger: Ledger
    clock: Clock
    #: Only where lots may be told again.
    pipeline: Pipeline | None
    #: Held while the pipeline decides: it serves one thread at a time.
    deciding: threading.Lock
    stopped: Callable[[], bool] = lambda: False

    @property
    def tasks(self) -> Tasks:
        """Where somebody is told."""
        return self.ledger.tasks

    def run(self, target: str, *, repair: bool, lot: str | None = None) -> Reading:
        """Read ``target`` back, all of it or one lot. Raises ConnectorInvalid; NotRead without a ``read_back`` part."""
        connector = load(self.settings.connectors / f"{target}.yaml", self.settings)
        part = connector.read_back
        if part is None:
            raise NotRead(NO_PART.format(name=target))
        reader = reader_of(connector, part)
        if lot is None:
            self.drift.begin(target, period_seconds(part), if_due=False)
        visit = _Visit(self, connector, part, reader, repair and self.pipeline is not None)
        problem: str | None = None
        try:
            visit.all_lots() if lot is None else visit.lots([lot])
        except NotRead as error:
            problem = error.detail
            log.error("%s could not be read back: %s", target, error.detail)
        finally:
            reader.close()
        found = Reading(target, None, None, visit.compared, visit.drifting, visit.repaired, problem)
        return found if lot is not None else self.drift.end(found)

    def due(self, targets: Sequence[str]) -> Iterator[str]:
        """Targets that the clock has to read back now, one after the other; each is begun by one process."""
        for target in targets:
            part = load(self.settings.connectors / f"{target}.yaml", self.settings).read_back
            if part is None or part.every_s == 0 or not self.drift.is_due(target, period_seconds(part)):
                continue
            paused = self.ledger.targets.state(target).paused_at is not None
            if not paused and self.drift.begin(target, period_seconds(part), if_due=True):
                yield target


class _Visit:
    """One reading of one target."""

    def __init__(
        self, reconciler: Reconciler, connector: Connector, part: ReadBack, reader: TargetReader, repair: bool
    ) -> None:
        self.compared = self.drifting = self.repaired = 0
        self._all = reconciler
        self._connector = connector
        self._part = part
        self._reader = reader
        self._repair = repair
        self._rate = Rate(connector.limits.per_second or READS_PER_SECOND, time.monotonic())
        self._target = connector.name

    def all_lots(self) -> None:
        """Every lot that the target has agreed to something about."""
        seen: set[bytes] | None = None
        if self._part.list is not None:
            seen = self._listed()
        after = ""
        while True:
            chunk = self._all.drift.agreed(self._target, after=after, limit=CHUNK)
            if not chunk:
                return
            after = chunk[-1].lot
            # What its list does not have may have come to it since: those are asked for one by one.
            self._compare([a for a in chunk if seen is None or _mark(a.lot) not in seen], {})

    def _listed(self) -> set[bytes]:
        """Compare the lots of the target's own list; gives marks of them, for there may be very many."""
        listing = self._part.list
        seen: set[bytes] = set()
        after: str | None = ""
        while after is not None and listing is not None:
            self._wait()
            page, following = self._reader.page(listing, after)
            if following == after:
                raise NotRead(f"{self._target}: its list does not end.")
            after = following
            seen |= {_mark(lot) for lot in page}
            agreed = self._all.drift.agreed_to(self._target, list(page))
            self._compare(list(agreed.values()), page)
        return seen

    def lots(self, lots: list[str]) -> None:
        """Only these."""
        self._compare(list(self._all.drift.agreed_to(self._target, lots).values()), {})

    def _compare(self, agreed: list[Agreed], page: dict[str, Members]) -> None:
        good: list[str] = []
        wrong: list[tuple[Agreed, DriftLine]] = []
        for one in agreed:
            listed = page.get(one.lot)
            line = None if listed is None else self._line(one, listed)
            if listed is None or line is not None:
                # The list may be older than what was agreed to: only what the target says after that counts.
                line = self._line(one, self._one(one))
            self.compared += 1
            if line is None:
                good.append(one.lot)
            else:
                wrong.append((one, line))
        for lot in self._all.drift.over(self._target, good) if good else ():
            self._close_tasks(lot)
        if wrong:
            self._found(wrong)

    def _one(self, agreed: Agreed) -> Members | None:
        self._wait()
        return self._reader.one(self._known(agreed))

    def _known(self, agreed: Agreed) -> dict[str, Any]:
        return values(self._connector, agreed.status, "")

    def _wait(self) -> None:
        """Until the target may be asked again."""
        while (wait := self._rate.wait_seconds(time.monotonic())) > 0:
            time.sleep(min(wait, TICK_SECONDS))
            if self._all.stopped():
                raise NotRead("the process was told to stop")
        if self._all.stopped():
            raise NotRead("the process was told to stop")

    def _line(self, agreed: Agreed, seen: Members | None) -> DriftLine | None:
        """What is wrong with one lot; None: it agrees."""
        now = instant(self._all.clock())
        if seen is None:
            if agreed.status.stock == "none":
                return None  # it is closed here, and forgotten there
            return DriftLine(self._target, agreed.lot, "unknown-lot", agreed.version,
                             {"stock": agreed.status.stock}, {}, now, now, 0)  # fmt: skip
        expected, observed = differing(self._part, self._known(agreed), seen)
        if not expected:
            return None
        kind = self._kind(agreed, seen)
        return DriftLine(self._target, agreed.lot, kind, agreed.version, expected, observed, now, now, 0)

    def _kind(self, agreed: Agreed, seen: Members) -> str:
        status = agreed.status
        if has_left(self._part, seen) and not status.allocatable and status.stock not in ("issued", "none"):
            return "left-while-blocked"
        version = version_of(self._part, seen)
        if version is not None and version < agreed.version:
            return "differs"
        return "changed-by-hand"

    def _found(self, wrong: list[tuple[Agreed, DriftLine]]) -> None:
        """Keep what is still true: what was told meanwhile is no drift."""
        still = self._all.drift.agreed_to(self._target, [agreed.lot for agreed, _ in wrong])
        repairs: list[DriftLine] = []
        for agreed, line in wrong:
            now = still.get(agreed.lot)
            if now is None or now.version != agreed.version:
                continue
            self.drifting += 1
            kept = self._all.drift.found(line)
            room = self.repaired + len(repairs) < self._part.repairs_at_most
            if self._repair and line.kind in self._part.repair and room and kept.repairs < REPAIRS_IN_VAIN:
                repairs.append(kept)
            else:
                self._tell_somebody(kept)
        if repairs and self._all.pipeline is not None:
            with self._all.deciding:
                tell_again(self._all.pipeline, self._all.clock, repairs)
            self._all.drift.told_again(self._target, [line.lot for line in repairs])
            self.repaired += len(repairs)
            log.warning("%s is told again of %d lots that drifted", self._target, len(repairs))

    def _tell_somebody(self, line: DriftLine) -> None:
        words = WORDS[line.kind].format(target=line.target, lot=line.lot)
        pairs = [f"{n} is {line.observed.get(n, 'missing')}, not {value}" for n, value in line.expected.items()]
        told = f"; told again {line.repairs} times in vain" if line.repairs else ""
        detail = f"{words}: {', '.join(pairs)} (version {line.version}, since {line.since}){told}"
        self._all.tasks.open_once(kind=_TASKS[line.kind], subject=line.lot, detail=detail, target=line.target)

    def _close_tasks(self, lot: str) -> None:
        for kind in dict.fromkeys(_TASKS.values()):
            self._all.tasks.close_about(kind, "the target says the same again", subject=lot, target=self._target)


#: Kind of drift -> kind of task.
_TASKS = {
    "differs": "drift", "unknown-lot": "drift", "changed-by-hand": "changed-by-hand",
    "left-while-blocked": "left-while-blocked",
}  # fmt: skip


def _mark(lot: str) -> bytes:
    return blake2b(lot.encode(), digest_size=8).digest()


def reconcile_due(reconciler: Reconciler, targets: Sequence[str]) -> None:
    """Read back whatever is due, and repair what the files let it."""
    for target in reconciler.due(targets):
        found = reconciler.run(target, repair=True)
        if found.drifting:
            log.warning("%s: %d of %d lots drift", target, found.drifting, found.lots)


"""The clock's part: inbound files looked at when they are due, and people told what was not taken.

One thread an inbound file, for a system that hangs holds up no folder. A file that cannot be used, a folder that is
gone, a system that does not answer: a task, tried again later and later, closed when it goes well. What may not enter:
how rows are read.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import date, tzinfo
from pathlib import Path

from msgspec import Struct

from actors.connectors.format import ConnectorInvalid
from actors.inbound.drop import Dropped, Outcome, Stopped
from actors.inbound.folder import Folder, FolderBusy, FolderUnfit, Settling, shown
from actors.inbound.format import Inbound, load
from actors.inbound.pull import Fetched, Fetching, PullFailed, due_after
from actors.inbound.sink import OwnSink, TooMany
from engine.clock import Clock
from engine.errors import LotgateError
from engine.settings import Settings
from engine.standing import Standing
from engine.tasks import Tasks

log = logging.getLogger("lotgate.inbound")

#: What was begun and never ended is begun again after this: its process is gone.
LEASE_SECONDS = 900.0
#: After a failure: doubled each time, with jitter, up to the longest.
AGAIN_SECONDS = 15.0
LONGEST_AGAIN_SECONDS = 3600.0
_DAY_SECONDS = 86_400.0


class Around(Struct):
    """What every inbound file needs."""

    settings: Settings
    standing: Standing
    tasks: Tasks
    #: Makes the sink of an inbound file, by the name that its rows are recorded under.
    sink: Callable[[str], OwnSink]
    clock: Clock
    today: Callable[[], date]
    timezone: tzinfo
    stopped: Callable[[], bool] = lambda: False


class Inlet:
    """One inbound file, looked at again and again."""

    def __init__(self, path: Path, around: Around) -> None:
        self.name = path.stem
        self._path = path
        self._around = around
        self._sink = around.sink(f"inbound/{self.name}")
        self._settling: Settling | None = None
        self._next_at = 0.0
        #: drop or pull, once the file could be read.
        self._kind = "unread"

    def look(self) -> None:
        """Do what is due. The file is read anew, so that a change needs no restart."""
        if time.monotonic() < self._next_at:
            return
        try:
            inbound = load(self._path, self._around.settings)
        except ConnectorInvalid as error:
            self._next_at = time.monotonic() + AGAIN_SECONDS
            self._failing(error.detail)
            return
        self._kind = inbound.kind
        try:
            self._drop(inbound) if inbound.kind == "drop" else self._pull(inbound)
        except Stopped:
            return

    # -- files -------------------------------------------------------------------------------------------------

    def _drop(self, inbound: Inbound) -> None:
        if inbound.drop is None:
            return
        self._next_at = time.monotonic() + inbound.every_s
        if self._settling is None or self._settling.settle_seconds != inbound.drop.settle_s:
            self._settling = Settling(inbound.drop.settle_s)
        around = self._around
        dropped = Dropped(inbound, self._sink, around.timezone, self._settling, around.stopped)
        try:
            folder = Folder(Path(inbound.drop.folder))
        except FolderBusy:
            return
        except FolderUnfit as error:
            self._failing(str(error))
            return
        try:
            unfit = folder.refused(inbound.drop.files)
            outcomes = dropped.round(folder, time.monotonic())
        except (LotgateError, OSError, FolderUnfit) as error:
            # The database is away, the disk is full, a file cannot be opened: it stays where it is.
            self._failing(str(error))
            return
        finally:
            folder.close()
        for name in map(shown, unfit):
            words = f"{name} in {inbound.drop.folder} is no plain file (a link, a pipe); it is not taken"
            around.tasks.open_once("inbound-rejected", f"{self.name}/{name}", words)
        for outcome in outcomes:
            self._tell(outcome, f"{self.name}/{outcome.kept or outcome.name}", f"{inbound.drop.folder}/rejected")
        if outcomes or around.standing.of(self.name, "drop").failures:
            rows, rejected = sum(o.rows for o in outcomes), sum(len(o.wrong) for o in outcomes)
            self._well(rows, rejected, 0.0)

    # -- lists -------------------------------------------------------------------------------------------------

    def _pull(self, inbound: Inbound) -> None:
        around = self._around
        longest = max(inbound.every_s, LEASE_SECONDS, LONGEST_AGAIN_SECONDS, _DAY_SECONDS * 1.1)
        if not around.standing.begin(self.name, "pull", LEASE_SECONDS, longest):
            return
        stand = around.standing.of(self.name, "pull")
        fetching = Fetching(inbound, around.timezone, around.clock, around.stopped)
        try:
            fetched = fetching.run(self._sink, stand.watermark)
            self._withdraw(inbound, fetched)
        except Stopped:
            # Nothing is lost; another process, or this one started anew, does it at once.
            around.standing.ask(self.name, "pull")
            raise
        except (PullFailed, TooMany, LotgateError) as error:
            self._failing(str(error), period_seconds=inbound.every_s if inbound.daily_at is None else _DAY_SECONDS)
            return
        finally:
            fetching.close()
        outcome = fetched.outcome
        self._tell(outcome, self.name, "where it was fetched from")
        rejected = outcome.counts.get("rejected", 0)
        if not rejected:
            around.tasks.close_about("inbound-rejected", "every row was taken", subject=self.name)
        due = due_after(inbound, around.clock(), around.timezone)
        self._well(outcome.rows, rejected, due, fetched.watermark)

    def _withdraw(self, inbound: Inbound, fetched: Fetched) -> None:
        record = inbound.record
        if record is None or not record.withdraw_at_most:
            return
        if fetched.outcome.counts.get("rejected"):
            return  # a row that was not understood may be one that would be missed
        if number := self._sink.withdraw(record.kind, fetched.keys, record.withdraw_at_most):
            fetched.outcome.counts["withdrawn"] = number

    # -- people ------------------------------------------------------------------------------------------------

    def _tell(self, outcome: Outcome, subject: str, where: str) -> None:
        log.log(logging.WARNING if outcome.wrong or outcome.problem else logging.INFO, "%s", outcome.words())
        if not outcome.wrong and not outcome.problem:
            return
        first = outcome.wrong[0] if outcome.wrong else None
        example = f", such as row {first.row}: {first.detail}" if first is not None and first.row else ""
        self._around.tasks.open_once("inbound-rejected", subject, f"{outcome.words()}{example}; see {where}"[:500])

    def _well(self, rows: int, rejected: int, due_at: float, watermark: str | None = None) -> None:
        standing = self._around.standing
        if standing.of(self.name, self._kind).failures:
            self._around.tasks.close_about("inbound-failing", "it goes well again", subject=self.name)
        standing.made(self.name, self._kind)
        standing.ended(self.name, self._kind, rows, rejected, due_at, watermark)

    def _failing(self, problem: str, period_seconds: float = LONGEST_AGAIN_SECONDS) -> None:
        around = self._around
        around.standing.made(self.name, self._kind)
        stand = around.standing.of(self.name, self._kind)
        longest = min(LONGEST_AGAIN_SECONDS, period_seconds)
        wait = min(longest, AGAIN_SECONDS * 2 ** min(stand.failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311
        if stand.problem != problem[:500]:
            log.error("%s: %s", self.name, problem)
        around.standing.failed(self.name, problem, around.clock().timestamp() + wait)
        around.tasks.open_once("inbound-failing", self.name, f"{self.name}: {problem}"[:500])

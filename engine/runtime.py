"""The engine put together from settings. Used by the composition roots.

:class:`Engine` decides, in this process: the committer process and the clock have one. :class:`Front` is what a web
process has: it reads for itself, and has a committer process decide.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.clock import Clock, system_clock
from engine.committer import Committer
from engine.ledger import Ledger
from engine.pipeline import Pipeline
from engine.settings import Settings
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

#: The systems that are told; each has a connector file of the same name.
TARGETS = ("erp", "wms")


class Engine(Struct):
    """Everything a process needs to decide, read and deliver."""

    settings: Settings
    store: Store
    rulebook: RuleBook
    judge: TwoChannelJudge
    pipeline: Pipeline
    ledger: Ledger
    reading: Reading
    clock: Clock
    timezone: ZoneInfo

    def today(self) -> date:
        """The plant's calendar day."""
        return day_of(self.clock(), self.timezone)

    def close(self) -> None:
        """Answer what waits, end the judge, close the store."""
        self.pipeline.stop()
        self.judge.close()
        self.store.close()


def day_of(moment: datetime, timezone: ZoneInfo) -> date:
    """The calendar day of ``moment`` in the plant's time zone."""
    return moment.astimezone(timezone).date()


def open_engine(
    settings: Settings, *, clock: Clock = system_clock, ring: Callable[[Sequence[str]], None] | None = None
) -> Engine:
    """Open and migrate the store, load the rules, start the judge. The pipeline is not started.

    Raises RulePackError for rule files that cannot be used, StoreUnavailable for a database that cannot be reached.
    """
    rulebook = RuleBook.load(settings.rules)
    store = open_store(settings.database_url, settings.home)
    migrate(store)
    judge = TwoChannelJudge(rulebook, channel=settings.channel)
    timezone = ZoneInfo(settings.timezone)
    pipeline = Pipeline(store, judge, rulebook, clock, TARGETS, ring=ring, timezone=timezone)
    return Engine(settings, store, rulebook, judge, pipeline, Ledger(store, clock), Reading(store), clock, timezone)


class Front(Struct):
    """Everything a web process needs: it reads, explains and delivers; its committer process decides."""

    settings: Settings
    store: Store
    rulebook: RuleBook
    committer: Committer
    ledger: Ledger
    reading: Reading
    clock: Clock
    timezone: ZoneInfo

    def today(self) -> date:
        """The plant's calendar day."""
        return day_of(self.clock(), self.timezone)

    def close(self) -> None:
        """End the committer process, close the store."""
        self.committer.close()
        self.store.close()


def open_front(
    settings: Settings, *, clock: Clock = system_clock, ring: Callable[[Sequence[str]], None] | None = None
) -> Front:
    """Open and migrate the store, load the rules, start the committer process and wait until it is ready.

    Raises what :func:`open_engine` raises, and CommitterFailed.
    """
    committer = Committer(settings, TARGETS, ring=ring)
    try:
        rulebook = RuleBook.load(settings.rules)
        store = open_store(settings.database_url, settings.home)
        migrate(store)
        committer.wait_until_open()
    except BaseException:
        committer.close()
        raise
    timezone = ZoneInfo(settings.timezone)
    return Front(settings, store, rulebook, committer, Ledger(store, clock), Reading(store), clock, timezone)

"""The engine put together from settings: store, rules, judge, pipeline. Used by the composition roots."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.clock import Clock, system_clock
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

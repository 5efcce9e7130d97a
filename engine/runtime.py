"""The engine put together from settings. Used by the composition roots.

:class:`Engine` decides, in this process: the committer process and the clock have one. :class:`Front` is what a web
process has: it reads for itself, and has a committer process decide.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.changeover import Changeover, DiskWatch, InForce
from engine.clock import Clock, system_clock
from engine.committer import Committer
from engine.ledger import Ledger
from engine.pipeline import Pipeline
from engine.routing import load_routes
from engine.rulesets import RuleSets
from engine.settings import Settings
from engine.store.feed import settle_order
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from engine.structs import warm_structs
from engine.trial import trial
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook


class Engine(Struct):
    """Everything a process needs to decide, read and deliver."""

    settings: Settings
    store: Store
    pipeline: Pipeline
    changeover: Changeover
    ledger: Ledger
    reading: Reading
    clock: Clock
    timezone: ZoneInfo

    @property
    def rulebook(self) -> RuleBook:
        """The rules that the next batch is judged by."""
        return self.pipeline.rulebook

    def today(self) -> date:
        """The plant's calendar day."""
        return day_of(self.clock(), self.timezone)

    def close(self) -> None:
        """Answer what waits, end the judges, close the store."""
        self.pipeline.stop()
        self.changeover.close()
        if isinstance(self.pipeline.judge, TwoChannelJudge):
            self.pipeline.judge.close()
        self.store.close()


def day_of(moment: datetime, timezone: ZoneInfo) -> date:
    """The calendar day of ``moment`` in the plant's time zone."""
    return moment.astimezone(timezone).date()


def open_engine(
    settings: Settings, *, clock: Clock = system_clock, ring: Callable[[Sequence[str]], None] | None = None
) -> Engine:
    """Open and migrate the store, load the rule set in force, start the judge. The pipeline is not started.

    Raises RulePackError for rules that cannot be used, StoreUnavailable for a database that cannot be reached.
    """
    warm_structs()
    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    migrate(store)
    settle_order(store)
    sets, rulebook = open_rules(store, settings, clock)

    def start_judge(book: RuleBook) -> TwoChannelJudge:
        return TwoChannelJudge(book, channel=settings.channel, keep_in=settings.home / "reproductions")

    judge = start_judge(rulebook)
    changeover = Changeover(sets, clock, rulebook, start_judge)
    timezone = ZoneInfo(settings.timezone)
    routes = load_routes(settings)
    pipeline = Pipeline(store, judge, rulebook, clock, routes, ring=ring, timezone=timezone, changeover=changeover)
    changeover.start()
    return Engine(settings, store, pipeline, changeover, Ledger(store, clock), Reading(store), clock, timezone)


def open_rules(store: Store, settings: Settings, clock: Clock) -> tuple[RuleSets, RuleBook]:
    """The stored rule sets and the one in force; on a new database that is what lies on disk.

    Raises RulePackError.
    """
    alone = settings.rules_approval == "one-person"
    sets = RuleSets(store, clock, one_person=alone, trial=lambda book: trial(book, settings.channel))
    return sets, sets.book(sets.ensure_first(settings.rules))


class Front(Struct):
    """Everything a web process needs: it reads, explains and delivers; its committer process decides."""

    settings: Settings
    store: Store
    rules: InForce
    disk: DiskWatch
    committer: Committer
    ledger: Ledger
    reading: Reading
    clock: Clock
    timezone: ZoneInfo

    @property
    def rulebook(self) -> RuleBook:
        """The rules in force now; may ask the database."""
        return self.rules.book()

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
    warm_structs()
    committer = Committer(settings, settings.target_names, ring=ring, max_waiting=settings.max_waiting)
    try:
        store = open_store(settings.database_url, settings.home, settings.archive_folder)
        migrate(store)
        in_force = InForce(*open_rules(store, settings, clock))
        committer.wait_until_open()
    except BaseException:
        committer.close()
        raise
    timezone = ZoneInfo(settings.timezone)
    disk, ledger = DiskWatch(settings.rules), Ledger(store, clock)
    return Front(settings, store, in_force, disk, committer, ledger, Reading(store), clock, timezone)

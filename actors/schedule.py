"""The clock process: what is due is rung for, parked events are met or given up, shelf life ends, people are told.

The sweeper is what makes losing Redis harmless: every second it looks into the ledger and rings for what it finds.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from actors.broker import Doorbell
from actors.inbound.format import files_of
from actors.inbound.sink import OwnSink
from actors.inbound.watch import Around, Inlet
from actors.keeping import Keeper
from actors.notify import Channel, Teller, channels
from actors.reconcile import Reconciler, reconcile_due
from engine.archive import Archiver
from engine.checkpoints import signer_of
from engine.clock import instant
from engine.drift import Drift
from engine.errors import ArchiveUnavailable, LotgateError
from engine.family import pass_holds_on
from engine.installation_checkpoints import InstallationCheckpoints
from engine.ledger import Ledger
from engine.notices import Notices
from engine.processes import Processes
from engine.recalls import carry_out
from engine.reference import References, record_owners
from engine.rerouting import look_again, route_again
from engine.runtime import Engine, open_engine
from engine.settings import Settings
from engine.signals import Signals, signals_of
from engine.standing import Standing
from engine.subscriptions import is_subscription
from engine.tasks import OURSELVES
from engine.track_record import carry_out_orders, count
from engine.upkeep import compensate, rounds
from engine.wide_holds import carry_out as carry_out_holds

log = logging.getLogger("lotgate.clock")

SWEEP_SECONDS = 1.0
UPKEEP_SECONDS = 5.0
FAMILY_SECONDS = 0.25
#: Other tasks wait no longer for large families.
FAMILY_PATIENCE_SECONDS = 1.0
RECALL_SECONDS = 0.25
SIGNAL_SECONDS = 0.25
COUNT_SECONDS = 0.5
#: Other tasks wait no longer for a journal that was never counted.
COUNT_PATIENCE_SECONDS = 1.0
NOTICE_SECONDS = 1.0
READ_BACK_SECONDS = 2.0
MAKE_UP_SECONDS = 15.0
#: How soon a checkpoint that is due is begun, and one that was made is handed out.
CHECKPOINT_SECONDS = 10.0
#: Lots that are closed for long can wait.
ARCHIVE_SECONDS = 3_600.0
#: An inbound file says itself how often it is due.
INBOUND_SECONDS = 0.2
#: Routes change when the process starts anew.
ONCE_SECONDS = 86_400.0
#: A Procfile runner kills after 5 s; whoever talks with another system gets this long to end.
STOP_SECONDS = 3.0
#: A target that is behind by more than this is somebody's business.
LATE_SECONDS = 900.0
LATE_LOOK_SECONDS = 30.0


class Task(Struct):
    """Something done every so often."""

    name: str
    every_seconds: float
    do: Callable[[], None]
    next_at: float = 0.0


def sweep(ledger: Ledger, bell: Doorbell, targets: Sequence[str]) -> None:
    """Ring for every target that has something due: lost messages, ended leases, an emptied Redis."""
    # Others have no doorbell: workers look for subscriptions themselves, and the clock for what nobody takes.
    due = [target for target in ledger.due() if target in targets]
    if due:
        bell.ring(due)


def escalate_late(ledger: Ledger, now: datetime) -> None:
    """Tell somebody, once, of a target that has not agreed to something for ``LATE_SECONDS``."""
    for target, since in ledger.oldest_open().items():
        age = (now - datetime.fromisoformat(since)).total_seconds()
        state = ledger.targets.state(target)
        if age < LATE_SECONDS or is_subscription(target):
            continue
        why = f"it is paused by {state.paused_by}: {state.reason}" if state.paused_at else state.breaker_detail
        words = f"{target} has not agreed to what was decided at {since}" + (f"; {why}" if why else "")
        if ledger.escalate_once("deliveries-late", target, words):
            log.error("%s", words)


def close_settled(ledger: Ledger, now: datetime) -> None:
    """Close the tasks whose reason has gone."""
    owing = ledger.oldest_open()
    for task in ledger.tasks.lines(kind="deliveries-late", limit=1000):
        since = owing.get(task.subject)
        if since is None or (now - datetime.fromisoformat(since)).total_seconds() < LATE_SECONDS:
            ledger.tasks.close(task.id, OURSELVES, "the target is not late any more")
    ledger.tasks.settle()


def upkeep(engine: Engine) -> None:
    """What time brings about."""
    for what, number in rounds(engine.store, engine.pipeline, engine.clock, engine.today()):
        if number:
            log.info("%s: %d", what, number)


def make_up(ledger: Ledger) -> None:
    """Owe subscriptions what was under way when they were made."""
    number = ledger.subscriptions.make_up()
    if number:
        log.info("subscriptions are owed %d entries that were under way", number)


def pass_on(engine: Engine) -> None:
    """Bring holds to what was made of the lots that they are on, level by level."""
    until = time.monotonic() + FAMILY_PATIENCE_SECONDS
    while (number := pass_holds_on(engine.store, engine.pipeline)) and time.monotonic() < until:
        log.info("holds on families: %d placed or lifted", number)


def route(engine: Engine) -> None:
    """Find targets for lots that none took."""
    if number := route_again(engine.store, engine.ledger, engine.pipeline.routes):
        log.warning("%d lots that no target took were routed again", number)


def greet_targets(engine: Engine) -> None:
    """Owe targets that are new what they have never heard of."""
    if number := look_again(engine.store, engine.ledger, engine.pipeline.routes):
        log.info("targets are owed %d lots that they were not told of before", number)


def count_inspections(engine: Engine) -> None:
    """Take series and scorecards further."""
    until = time.monotonic() + COUNT_PATIENCE_SECONDS
    while count(engine.store) and time.monotonic() < until:
        pass
    if number := carry_out_orders(engine.store, instant(engine.clock())):
        log.info("sampling was changed by %d orders", number)


def recall(engine: Engine) -> None:
    """Take recalls further."""
    if number := carry_out(engine.store, engine.pipeline, engine.clock):
        log.warning("recalls: %d lots held or released from them", number)


def hold_many(engine: Engine) -> None:
    """Take holds on many lots further."""
    if number := carry_out_holds(engine.store, engine.pipeline, engine.clock):
        log.info("holds on many lots: %d lots held or lifted", number)


def watch_orders(signals: Signals, engine: Engine) -> None:
    """Take back, or give again, what systems were told of orders."""
    if number := signals.watch(lambda: engine.rulebook, engine.today()):
        log.warning("orders: %d were signalled anew", number)


def archive_old(archiver: Archiver, ledger: Ledger, days: int, stop: threading.Event) -> None:
    """Let lots that are closed for long leave the journal; what fails is somebody's business."""
    try:
        report = archiver.keep_up(days, "lotgate/clock", lambda: not stop.is_set())
    except (OSError, ArchiveUnavailable) as error:
        words = error.detail if isinstance(error, ArchiveUnavailable) else f"the archive cannot be written: {error}"
        log.error("archive: %s", words)
        ledger.escalate_once("archive-failing", "archive", words)
        return
    ledger.tasks.close_about("archive-failing", "the archive works again", subject="archive")
    if report.lots:
        log.info("archive: %d lots, %d entries, %d segments", report.lots, report.entries, len(report.segments))


def keep_archive(engine: Engine, stop: threading.Event) -> Callable[[], None]:
    """Archives what is old. As for checkpoints, a key that cannot be used stops nothing else."""
    settings, made = engine.settings, list[Archiver]()

    def look() -> None:
        if not made:
            made.append(Archiver(engine.store, engine.clock, signer_of(settings)))
        archive_old(made[0], engine.ledger, settings.archive_after_days, stop)

    return look


def compensate_all(engine: Engine) -> None:
    """Journal what targets refused for good, and end what they agree to again."""
    number = compensate(engine.store, engine.pipeline, engine.clock)
    if number:
        log.warning("%d compensations were taken up", number)


def run(tasks: list[Task], stop: threading.Event) -> None:
    """Run ``tasks`` until ``stop``; one that fails is tried again at its next time."""
    while not stop.is_set():
        now = time.monotonic()
        for task in tasks:
            if now >= task.next_at:
                task.next_at = now + task.every_seconds
                _do(task)
        stop.wait(min(t.next_at for t in tasks) - time.monotonic() if tasks else 1.0)


def _do(task: Task) -> None:
    try:
        task.do()
    except LotgateError as error:
        log.error("%s: %s", task.name, error.detail)
    except Exception:
        log.exception("%s failed; it is tried again in %.0f s", task.name, task.every_seconds)


def _alone(deciding: threading.Lock, do: Callable[[Engine], None], engine: Engine) -> None:
    with deciding:
        do(engine)


def _reading_back(reading: Reconciler, target: str) -> Task:
    """A target that is slow to be read holds up no other."""
    return Task(f"reconciliation of {target}", READ_BACK_SECONDS, lambda: reconcile_due(reading, (target,)))


def inlets(engine: Engine, deciding: threading.Lock, stop: threading.Event) -> list[Inlet]:
    """The inbound files of this installation, ready to be looked at."""
    owners = record_owners(engine.settings)
    references = References(engine.store, engine.clock, lambda: engine.rulebook.vocabulary, owners)

    def sink(by: str) -> OwnSink:
        return OwnSink(engine.pipeline, references, deciding, by, engine.today)

    around = Around(
        engine.settings, Standing(engine.store, engine.clock), engine.ledger.tasks, sink, engine.clock, engine.today,
        engine.timezone, stop.is_set,
    )  # fmt: skip
    return [Inlet(path, around) for path in files_of(engine.settings)]


def keep_checkpoints(engine: Engine, stop: threading.Event) -> Callable[[], None]:
    """Makes checkpoints and hands them out. A key that cannot be used stops nothing else: it is said every round."""
    settings, made = engine.settings, list[Keeper]()

    def look() -> None:
        if not made:
            checkpoints = InstallationCheckpoints(engine.store, signer_of(settings), engine.clock)
            hours, folder = settings.checkpoint_hours, settings.checkpoint_dir
            made.append(Keeper(checkpoints, engine.ledger.tasks, hours, folder, stop.is_set))
        made[0].look()

    return look


def _plan(teller: Teller) -> None:
    teller.plan()


def _telling(teller: Teller, channel: Channel, stop: threading.Event) -> Task:
    """A mail server that hangs holds up no webhook."""

    def send() -> None:
        teller.send(channel, stop.is_set)

    return Task(f"notices by {channel.name}", NOTICE_SECONDS, send)


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Gives the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bell = Doorbell(settings)
    engine = open_engine(settings, ring=bell.ring)
    ledger, now, deciding = engine.ledger, engine.clock, threading.Lock()
    signals = signals_of(settings, engine.store, now, bell.ring)
    tasks = [
        Task("sweep", SWEEP_SECONDS, lambda: sweep(ledger, bell, settings.told_names)),
        Task("late", LATE_LOOK_SECONDS, lambda: escalate_late(ledger, now())),
        Task("settled tasks", LATE_LOOK_SECONDS, lambda: close_settled(ledger, now())),
        Task("subscriptions", MAKE_UP_SECONDS, lambda: make_up(ledger)),
        Task("routes", SWEEP_SECONDS, lambda: route(engine)),
        Task("compensations", SWEEP_SECONDS, lambda: _alone(deciding, compensate_all, engine)),
        Task("families", FAMILY_SECONDS, lambda: _alone(deciding, pass_on, engine)),
        Task("recalls", RECALL_SECONDS, lambda: _alone(deciding, recall, engine)),
        Task("wide holds", RECALL_SECONDS, lambda: _alone(deciding, hold_many, engine)),
        Task("track record", COUNT_SECONDS, lambda: count_inspections(engine)),
        Task("upkeep", UPKEEP_SECONDS, lambda: _alone(deciding, upkeep, engine)),
    ]
    # What waits for other systems has threads of its own: the sweeper must never wait for a mail server.
    teller = Teller(ledger.tasks, Notices(engine.store, now), channels(settings, now), settings.notify_repeat_s)
    reading = Reconciler(settings, Drift(engine.store, now), ledger, now, engine.pipeline, deciding, stop.is_set)
    archiving = [[Task("archive", ARCHIVE_SECONDS, keep_archive(engine, stop))]] if settings.archive_after_days else []
    asides = [
        [Task("notices", NOTICE_SECONDS, lambda: _plan(teller))],
        # Only reads entries, and may read very many.
        [Task("checkpoints", CHECKPOINT_SECONDS, keep_checkpoints(engine, stop))],
        [Task("targets", ONCE_SECONDS, lambda: greet_targets(engine))],
        # Only reads lots: however many orders are watched, holds pass to families in the meantime.
        [Task("orders", SIGNAL_SECONDS, lambda: watch_orders(signals, engine))],
        *([_telling(teller, channel, stop)] for channel in teller.channels),
        *([_reading_back(reading, target)] for target in engine.pipeline.targets),
        *archiving,
        *([Task(f"inbound {one.name}", INBOUND_SECONDS, one.look)] for one in inlets(engine, deciding, stop)),
    ]
    threads = [threading.Thread(target=run, args=(aside, stop), name=aside[0].name, daemon=True) for aside in asides]
    for thread in threads:
        thread.start()
    with Processes(engine.store, now).alive("clock"):
        run(tasks, stop)
    deadline = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    bell.close()
    engine.close()
    return 0

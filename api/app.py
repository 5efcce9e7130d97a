"""The composition root of the web process: everything is made here, started and stopped in order.

Start: committer → workers (only without Redis). Stop: no new requests → the committer answers what waits →
workers → store. What may not enter: what any of them does.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from litestar import Litestar, asgi
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp
from msgspec import Struct

from actors.broker import Doorbell
from actors.deliver import check_connectors
from actors.lookup import Lookup
from actors.worker import Workers, run_in_threads
from api.access import KeyRing
from api.archive import archive_routes
from api.asyncapi import schema_routes
from api.audit import audit_routes
from api.batch import PATH as EVENTS_BATCH
from api.batch import BatchPath
from api.body import MAX_EVENT_BYTES, Gone, Patience, answer_nobody
from api.commands import commands
from api.concessions import concession_routes
from api.console.mount import console, unknown_addresses
from api.deprecation import telling_deprecation
from api.door import Door
from api.elsewhere import elsewhere_routes
from api.epcis import epcis_routes
from api.events import PATH as EVENTS
from api.events import EventPath
from api.feed import PATH as FEED
from api.feed import FeedPath, Tail, feed_routes
from api.genealogy import genealogy_routes
from api.health import Health, health_routes, healthz
from api.holds import hold_routes
from api.in_process import in_process_routes
from api.kpi import kpi_routes
from api.ledger import ledger_routes
from api.lots import lot_routes
from api.openapi import openapi_document
from api.operations import OPERATIONS
from api.permits import Permits
from api.problems import answer_exception, problem_index, problem_page
from api.quality import quality_routes
from api.rates import Rates
from api.readiness import readiness_routes
from api.recalls import recall_routes
from api.reference import reference_routes
from api.rulesets import rule_set_routes
from api.sessions import SessionRing
from api.signing import sign_route
from api.single_sign_on import SingleSignOn
from api.subscriptions import subscription_routes
from api.tokens import tokens_of
from api.traced import Traced
from engine.feed import Feed
from engine.hold_reasons import check_reason
from engine.people import ensure_admin_key, read_keys
from engine.processes import Processes
from engine.runtime import Front, open_front
from engine.sessions import Sessions
from engine.settings import Settings
from engine.slow import SlowLog
from engine.spans import Spans, open_spans

log = logging.getLogger("lotgate.api")

#: Value of the setting redis_url that means: run the actors here, as threads.
WITHOUT_REDIS = "none"


class Application(Struct, frozen=True):
    """What the web process runs."""

    #: The ASGI application.
    door: ASGIApp
    health: Health
    engine: Front


def create_app(settings: Settings) -> Application:
    """Open the store and migrate it, load the rules, start the committer process, and put the routes before them.

    Nothing is served before all of that has worked; the errors are those of ``open_front``.
    """
    if settings.redis_url == WITHOUT_REDIS:
        check_connectors(settings.told_names, settings)
    bell = Doorbell(settings)
    engine = open_front(settings, ring=bell.ring)
    made = ensure_admin_key(engine.store, settings.home, engine.clock)
    if made is not None:
        log.warning("made an administrator's key and wrote it to %s", made)
    tokens = tokens_of(settings)
    keys = KeyRing(lambda: read_keys(engine.store, engine.clock), tokens)
    keys.load()
    sessions = SessionRing(Sessions(engine.store, engine.clock), keys)
    sessions.load()
    provider = None
    if tokens is not None and settings.oidc_client_id:
        provider = SingleSignOn(settings, tokens, keys, sessions, engine.store, engine.clock)
    spans = open_spans(settings, "web")
    patience = Patience()
    health = Health(engine, bell.state)
    tail = Tail(Feed(engine.store), lambda: health.draining)
    lookup = Lookup(settings, engine.store, engine.clock)
    processes = Processes(engine.store, engine.clock)
    identity = processes.name("web")

    @contextlib.asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        works = [keys.keep_fresh(), sessions.keep_fresh(), patience.sweep(), tail.run()]
        if tokens is not None:
            works.append(tokens.keep_fresh())
        tasks = [asyncio.create_task(work) for work in works]
        await engine.committer.start()
        workers = (
            run_in_threads(settings, engine.ledger, bell, spans) if settings.redis_url == WITHOUT_REDIS else None
        )
        here = contextlib.ExitStack()
        here.enter_context(processes.alive("web", identity))
        try:
            yield
        finally:
            health.start_draining()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.committer.stop()
            lookup.close()
            await asyncio.to_thread(_stop, engine, workers, bell, here, spans)

    permits = Permits(engine.reading.plants)

    def check_hold(code: str) -> None:
        check_reason(engine.store, engine.today(), code)

    rates = Rates(settings.rate_per_s, settings.rate_burst)
    batch = BatchPath(engine.committer, patience, permits, rates)
    direct = {
        EVENTS: EventPath(engine.committer, patience, batch, permits, rates).answer,
        EVENTS_BATCH: batch.answer,
        FEED: FeedPath(tail, keys.authenticate).answer,
    }
    unknown = unknown_addresses(engine)
    litestar = Litestar(
        [
            *(asgi(path, copy_scope=False)(answer) for path, answer in direct.items()),
            commands(engine.committer, patience, permits, check_hold),
            sign_route(engine.committer, patience, permits, keys),
            *lot_routes(engine),
            *archive_routes(engine, patience),
            *audit_routes(engine),
            *elsewhere_routes(lookup),
            *epcis_routes(engine, patience, batch),
            *feed_routes(tail),
            *genealogy_routes(engine),
            *hold_routes(engine, patience),
            *kpi_routes(engine),
            *ledger_routes(engine, patience, bell.ring),
            *quality_routes(engine, patience),
            *concession_routes(engine),
            *in_process_routes(engine),
            *readiness_routes(engine, patience, bell.ring),
            *recall_routes(engine, patience),
            *reference_routes(engine, patience),
            *rule_set_routes(engine, patience),
            *subscription_routes(engine, patience),
            *health_routes(health, engine),
            console(engine, patience, permits, keys, sessions, provider, tail, health, bell.ring, check_hold, identity),
            healthz,
            openapi_document,
            *schema_routes(),
            problem_index,
            problem_page,
        ],
        lifespan=[life],
        exception_handlers={
            Exception: answer_exception, Gone: answer_nobody,
            NotFoundException: unknown, MethodNotAllowedException: unknown,
        },
        request_max_body_size=MAX_EVENT_BYTES,
        # Our own document and log: Litestar's would describe and log what it cannot see.
        openapi_config=None,
        logging_config=None,
    )
    hot = {path.encode(): answer for path, answer in direct.items()}
    door = Door(litestar, keys, sessions, hot, permits, rates, SlowLog(settings.slow_ms))
    told: ASGIApp = telling_deprecation(door, OPERATIONS)
    return Application(told if spans is None else Traced(told, spans), health, engine)


def _stop(
    engine: Front, workers: Workers | None, bell: Doorbell, here: contextlib.ExitStack, spans: Spans | None
) -> None:
    """End everything, in order: nothing is rung or delivered by what is already closed."""
    if workers is not None:
        workers.stop()
    bell.close()
    here.close()
    engine.close()
    if spans is not None:
        spans.close()

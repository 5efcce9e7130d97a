"""The composition root of the web process: everything is made here, started and stopped in order.

Start: committer → doorbell's workers (only without Redis). Stop: no new requests → committer answers what waits →
workers → judge → store. What may not enter: what any of them does.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from litestar import Litestar
from msgspec import Struct

from actors.broker import Doorbell
from api.access import KeyRing
from api.batch import BatchPath
from api.body import MAX_EVENT_BYTES, Patience
from api.commands import commands
from api.door import Door
from api.events import EventPath
from api.health import Health, health_routes, healthz
from api.ledger import ledger_routes
from api.lots import lot_routes
from api.openapi import openapi_document
from api.problems import answer_exception, problem_index, problem_page
from engine.people import ensure_admin_key, read_keys
from engine.runtime import Engine, open_engine
from engine.settings import Settings

log = logging.getLogger("lotgate.api")


class Application(Struct, frozen=True):
    """What the web process runs."""

    #: The ASGI application.
    door: Door
    health: Health
    engine: Engine

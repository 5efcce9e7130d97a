"""Real databases for the engine's tests: SQLite in a temporary directory, PostgreSQL out of a wheel."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.answer import Answer
from engine.decoding import decode_event
from engine.events import Event
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.databases import new_store


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Empty for SQLite, else a new PostgreSQL database."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("new_postgres")())


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path, database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def rulebook() -> RuleBook:
    return RuleBook.load(SHIPPED_RULES)


@pytest.fixture(scope="session")
def judge(rulebook: RuleBook) -> Iterator[TwoChannelJudge]:
    both = TwoChannelJudge(rulebook)
    yield both
    both.close()


class Plant:
    """A running pipeline, and short words for what plants say to it."""

    def __init__(self, store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> None:
        self.store = store
        self.pipeline = Pipeline(store, judge, rulebook, clock)
        self.pipeline.start()
        self._number = 0

    def event(self, type_: str, lot: str, data: dict[str, Any], **attributes: Any) -> Event:
        self._number += 1
        envelope = {
            "specversion": "1.0", "id": f"e{self._number}", "source": "test/plant", "type": type_, "subject": lot,
            "data": data,
        }  # fmt: skip
        return decode_event(json.dumps(envelope | attributes).encode())

    def send(self, type_: str, lot: str, data: dict[str, Any], **attributes: Any) -> Answer:
        return self.pipeline.submit(self.event(type_, lot, data, **attributes), "tester").result(20)

    def receive(self, lot: str, item: str = "RING-74", quantity: str = "100", **more: Any) -> Answer:
        data = {
            "item": item, "revision": "A", "quantity": {"value": quantity, "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR-{lot}",
        }  # fmt: skip
        return self.send("lot.received.v1", lot, data | more)

    def inspect(self, lot: str, *values: str) -> Answer:
        lines = [{"characteristic": "diameter", "value": v, "unit": "mm", "sample": i} for i, v in enumerate(values, 1)]
        return self.send("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines})

    def hold(self, lot: str, name: str) -> Answer:
        return self.send("hold.applied.v1", lot, {"hold": name, "reason": {"code": "recall"}})

    def lift(self, lot: str, name: str) -> Answer:
        return self.send("hold.lifted.v1", lot, {"hold": name, "reason": {"code": "cleared"}})

    def released(self, lot: str) -> Answer:
        self.receive(lot)
        return self.inspect(lot, *["74.000"] * 5)

    def agree(self) -> None:
        """ERP and WMS have acknowledged everything."""
        with self.store.engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'delivered'"))


@pytest.fixture
def plant(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> Iterator[Plant]:
    running = Plant(store, judge, rulebook, clock)
    yield running
    running.pipeline.stop()


@contextmanager
def judged_by(plant: Plant, rulebook: RuleBook, clock: Clock, rules: str) -> Iterator[Plant]:
    """``plant`` under one rule file more; when it is over, its journal must verify."""
    book = RuleBook.from_sources(rulebook.sources | {"more.yaml": rules})
    with closing(TwoChannelJudge(book)) as judge:
        plant.pipeline.stop()
        plant.pipeline = Pipeline(plant.store, judge, book, clock)
        plant.pipeline.start()
        yield plant
        plant.pipeline.stop()
    assert verify(Reading(plant.store).journals()).intact


@pytest.fixture
def count(store: Store) -> Callable[[str], int]:
    """How many rows a table has."""

    def rows(table: str) -> int:
        with store.reads.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    return rows

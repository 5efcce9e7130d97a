"""The straightforward version of the main job, as a good developer writes it in an afternoon.

FastAPI with pydantic models, SQLAlchemy ORM, one transaction per event, a unique constraint for duplicates, a
``transitions`` machine bound to the lot, one dramatiq message per target after the commit. Not tuned, not crippled.

    PLAIN_DATABASE_URL, PLAIN_REDIS_URL; run with uvicorn ``bench.plain:app``.
"""

import os
from datetime import UTC, datetime
from decimal import Decimal

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import ForeignKey, UniqueConstraint, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker
from transitions import Machine

URL = os.environ["PLAIN_DATABASE_URL"]
LOWER, UPPER = Decimal("9.900"), Decimal("10.100")

broker = RedisBroker(url=os.environ["PLAIN_REDIS_URL"])
dramatiq.set_broker(broker)
engine = create_engine(URL, pool_size=16, max_overflow=16)
if URL.startswith("sqlite"):

    @event.listens_for(engine, "connect")
    def _pragmas(connection, _):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=10000")


NewSession = sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class Lot(Base):
    __tablename__ = "lots"
    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    item: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("source", "event_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    event_id: Mapped[str]
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"))
    type: Mapped[str]
    state_before: Mapped[str]
    state_after: Mapped[str]
    recorded_at: Mapped[datetime]
    results: Mapped[list["Result"]] = relationship()


class Result(Base):
    __tablename__ = "results"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_pk: Mapped[int] = mapped_column(ForeignKey("events.id"))
    characteristic: Mapped[str]
    value: Mapped[str]
    unit: Mapped[str]


Base.metadata.create_all(engine)

STATES = ["received", "quarantined", "inspected", "released", "blocked", "shipped"]
TRANSITIONS = [
    {"trigger": "inspect", "source": "quarantined", "dest": "inspected"},
    {"trigger": "release", "source": "inspected", "dest": "released"},
    {"trigger": "block", "source": ["received", "quarantined", "inspected", "released"], "dest": "blocked"},
]


class LotModel:
    """The model a machine is bound to."""

    state: str


class Measurement(BaseModel):
    characteristic: str
    value: Decimal
    unit: str
    sample: int = 1


class Data(BaseModel):
    inspection: str | None = None
    item: str | None = None
    measurements: list[Measurement] = []


class CloudEvent(BaseModel):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Data


@dramatiq.actor(queue_name="plain-erp")
def sync_erp(lot: str, version: int) -> None:
    """Never run in the benchmark: only the enqueueing is part of it."""


@dramatiq.actor(queue_name="plain-wms")
def sync_wms(lot: str, version: int) -> None:
    """Never run in the benchmark: only the enqueueing is part of it."""


app = FastAPI()


@app.post("/v1/events", status_code=201)
def submit(submitted: CloudEvent) -> dict[str, object]:
    """One event, one transaction."""
    with NewSession() as session:
        try:
            answer = _apply(session, submitted)
            session.commit()
        except IntegrityError:
            session.rollback()
            return {"outcome": "duplicate", "lot": submitted.subject}
    sync_erp.send(answer["lot"], answer["version"])
    sync_wms.send(answer["lot"], answer["version"])
    return answer


def _apply(session: Session, submitted: CloudEvent) -> dict[str, object]:
    known = session.scalar(
        select(Event).where(Event.source == submitted.source, Event.event_id == submitted.id)
    )
    if known is not None:
        return {"outcome": "duplicate", "lot": known.lot_id, "version": 0}
    lot = session.get(Lot, submitted.subject)
    if submitted.type == "lot.received.v1":
        if lot is not None:
            raise HTTPException(409, "the lot exists")
        lot = Lot(id=submitted.subject, state="quarantined", item=submitted.data.item or "", version=0)
        session.add(lot)
        session.flush()
        before = "received"
    else:
        if lot is None:
            raise HTTPException(404, "no such lot")
        before = lot.state
        model = LotModel()
        Machine(model, states=STATES, transitions=TRANSITIONS, initial=lot.state, auto_transitions=False)
        if not model.may_inspect():  # type: ignore[attr-defined]
            raise HTTPException(409, f"not possible while {lot.state}")
        model.inspect()  # type: ignore[attr-defined]
        if any(not LOWER <= m.value <= UPPER for m in submitted.data.measurements):
            model.block()  # type: ignore[attr-defined]
        lot.state = model.state
    lot.version += 1
    session.add(
        Event(
            source=submitted.source, event_id=submitted.id, lot_id=lot.id, type=submitted.type, state_before=before,
            state_after=lot.state, recorded_at=datetime.now(UTC),
            results=[
                Result(characteristic=m.characteristic, value=str(m.value), unit=m.unit)
                for m in submitted.data.measurements
            ],
        )
    )  # fmt: skip
    state = {"before": before, "after": lot.state}
    return {"outcome": "applied", "lot": lot.id, "version": lot.version, "state": state}

"""The straightforward version of delivering: one dramatiq message a delivery, the actor calls and marks the row.

What a tutorial would write: httpx, SQLAlchemy, dramatiq's own retries. Run by the dramatiq command, one process,
eight threads. Not tuned, not crippled; it keeps no order per lot and loses what Redis loses.
"""

import os
from pathlib import Path

import dramatiq
import httpx
from dramatiq.brokers.redis import RedisBroker
from msgspec import json
from sqlalchemy import text

from engine.effects import StockStatus
from engine.store.opening import open_store

broker = RedisBroker(url=os.environ["PLAIN_REDIS"], namespace="plain")
dramatiq.set_broker(broker)
store = open_store("", Path(os.environ["PLAIN_HOME"]))
erp = httpx.Client(base_url=os.environ["PLAIN_ERP"], trust_env=False)


@dramatiq.actor(queue_name="plain")
def deliver(number: int) -> None:
    """Tell the ERP one status."""
    with store.reads.connect() as connection:
        query = text("SELECT payload FROM deliveries WHERE id = :id AND state = 'pending'")
        row = connection.execute(query, {"id": number}).first()
    if row is None:
        return
    status = json.decode(row[0], type=StockStatus)
    told = _tell(status, number)
    if told.status_code == 404:
        known = {name: getattr(status, name) for name in ("lot", "item", "revision", "quantity", "unit")}
        erp.post("/api/lots", json=known).raise_for_status()
        told = _tell(status, number)
    told.raise_for_status()
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'delivered' WHERE id = :id"), {"id": number})


def _tell(status: StockStatus, number: int) -> httpx.Response:
    body = {name: getattr(status, name) for name in ("version", "stock", "state", "quantity", "unit", "reasons")}
    return erp.post(f"/api/lots/{status.lot}/status", json=body, headers={"Idempotency-Key": f"plain-{number}"})

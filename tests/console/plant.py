"""A service in front of a plant of the benchmark's generator (bench/plant.py), and where its pages are.

What may not enter: a browser, and what is asserted.
"""

from pathlib import Path

from sqlalchemy import text

from bench.console import addresses
from bench.plant import Teller, fill
from engine.store.opening import open_store
from tests.api.conftest import Service

#: Lots, and rows of every list.
SIZES = {"usual": (300, 12), "large": (600, 10_000)}


class Plant:
    """The service runs until it is stopped; ``addresses`` are those of every route."""

    def __init__(self, home: Path, lots: int, many: int) -> None:
        self.service = Service(home)
        self.service.start()
        store = open_store("", home)
        told = Teller(self.service.http, store).tell()
        fill(store, told, lots, many)
        with store.reads.connect() as connection:
            digest = connection.execute(text("SELECT digest FROM rule_sets")).scalar_one()
            given_up = connection.execute(text("SELECT max(id) FROM deliveries WHERE state = 'dead'")).scalar_one()
        store.close()
        self.addresses = addresses(lots, many, digest.removeprefix("sha256:")[:10], given_up)

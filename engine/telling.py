"""Who is told what of the lots that one course changed. Pure."""

from collections.abc import Mapping

from engine.effects import StockStatus, disputed, status_for, stock_status
from engine.lot import Lot
from engine.routing import Routes


class Telling:
    """What targets must be told, filled by a course."""

    __slots__ = ("_instead", "_only", "_told")

    def __init__(self) -> None:
        #: Lots that targets must be told of, with their new status.
        self._told: dict[str, StockStatus] = {}
        #: What one target is told instead of that, by (lot, target).
        self._instead: dict[tuple[str, str], StockStatus] = {}
        #: The only targets that must be told of a lot, at least one; a lot that is not in it: all of them.
        self._only: dict[str, tuple[str, ...]] = {}

    def tell(self, lot: Lot, only: tuple[str, ...] | None = None) -> None:
        """Tell ``only`` these targets of ``lot``, or all; less where a target disputes it."""
        self._told[lot.id] = stock_status(lot)
        if only is not None:
            self._only[lot.id] = only
        for target in disputed(lot):
            self._instead[lot.id, target] = status_for(lot, target)

    def statuses(self, lots: Mapping[str, Lot], routes: Routes) -> dict[tuple[str, str], StockStatus]:
        """What each target is told of each lot, by (lot, target)."""
        return {
            (lot_id, target): self._instead.get((lot_id, target), status)
            for lot_id, status in self._told.items()
            for target in self._only.get(lot_id) or routes.of(lots[lot_id])
        }

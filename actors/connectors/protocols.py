"""Which room tells a target, and which reads it back: those for the protocol that its connector file names."""

from collections.abc import Callable

from actors.connectors.format import Connector
from actors.connectors.http import Call, Target, preview, session_of
from actors.connectors.masks import Masks
from actors.connectors.readback import ReadBack, Reader, TargetReader
from actors.connectors.steps import StepsReader, StepsTarget, unsent
from actors.connectors.tryton import TrytonReader, TrytonTarget
from engine.effects import StockStatus

_ROOMS: dict[str, type[Target]] = {"http": Target, "steps": StepsTarget, "tryton": TrytonTarget}


def target_of(connector: Connector) -> Target:
    """The target of ``connector``."""
    return _ROOMS[connector.protocol](connector)


def reader_of(connector: Connector, part: ReadBack, may_call: Callable[[], bool] = lambda: True) -> TargetReader:
    """Reads the target of ``connector`` back by the ``read_back`` part of its file.

    ``may_call`` is asked before every call where one reading takes several.
    """
    if connector.protocol == "tryton":
        return TrytonReader(connector)
    if connector.protocol == "steps":
        return StepsReader(connector, may_call)
    masks = Masks(connector.secrets.values())
    return Reader(connector.name, session_of(connector, masks), masks, part, connector.secrets)


def requests_of(connector: Connector, status: StockStatus, key: str) -> list[tuple[str, Call]]:
    """The requests that would tell the target ``status``, by their name in the file; nothing is sent."""
    return [*unsent(connector, status, key)] if connector.protocol == "steps" else preview(connector, status, key)

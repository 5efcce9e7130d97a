"""Which room tells a target, and which reads it back: those for the protocol that its connector file names."""

from actors.connectors.format import Connector
from actors.connectors.http import Target
from actors.connectors.readback import ReadBack, Reader, TargetReader
from actors.connectors.tryton import TrytonReader, TrytonTarget

_ROOMS: dict[str, type[Target]] = {"http": Target, "tryton": TrytonTarget}


def target_of(connector: Connector) -> Target:
    """The target of ``connector``."""
    return _ROOMS[connector.protocol](connector)


def reader_of(connector: Connector, part: ReadBack) -> TargetReader:
    """Reads the target of ``connector`` back by the ``read_back`` part of its file."""
    if connector.protocol == "tryton":
        return TrytonReader(connector)
    return Reader(connector.name, connector.base_url, connector.limits.timeout_s, part, connector.secrets)

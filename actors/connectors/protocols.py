"""Which room tells a target: the one for the protocol that its connector file names."""

from actors.connectors.format import Connector
from actors.connectors.http import Target
from actors.connectors.tryton import TrytonTarget

_ROOMS: dict[str, type[Target]] = {"http": Target, "tryton": TrytonTarget}


def target_of(connector: Connector) -> Target:
    """The target of ``connector``."""
    return _ROOMS[connector.protocol](connector)

"""What schemathesis does not know by itself: one JSON document a line. Loaded by its own process, not by pytest."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """Each item of a list is a line; anything else is the only one."""
    items = value if isinstance(value, list) else [value]
    return b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)

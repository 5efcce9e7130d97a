"""Query strings, read strictly: an unknown, repeated or unreadable parameter is refused, never ignored.

A filter with a typing error in its name would otherwise quietly list everything. What may not enter: SQL.
"""

import base64
import binascii
from collections.abc import Collection
from urllib.parse import parse_qsl

from litestar.types import HTTPScope
from msgspec import Struct

from api.problems import Refused

#: Rows a page, at most and by default.
MAX_LIMIT = 500
DEFAULT_LIMIT = 100
#: Enough for a place that is an instant and two names, or three names: of 64 characters each, whatever these are.
_MAX_CURSOR_BYTES = 2048
#: The largest number in a path or query that databases can look for.
MAX_NUMBER = 10**18 - 1
#: The largest version of a lot, and the largest number of an answer: they are 32-bit in the database.
MAX_VERSION = 2**31 - 1


def read_query(
    scope: HTTPScope, allowed: Collection[str], *, blank: bool = False, empty: Collection[str] = ()
) -> dict[str, str]:
    """The parameters; raises Refused for any that is not ``allowed``, repeated, empty or not UTF-8.

    ``blank``: empty ones are left out instead, for browsers send every field of a form; ``empty``: of these nothing is
    a value, too.
    """
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refused("parameter-invalid", "The query is not UTF-8 when percent-decoded.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise Refused("parameter-invalid", f"There is no parameter {name}; there are: {known}.", name)
        if name in found:
            raise Refused("parameter-invalid", f"The parameter {name} was given twice.", name)
        if blank and not value.strip():
            continue
        if (not value and name not in empty) or "\0" in value:
            raise Refused("parameter-invalid", f"The parameter {name} has no usable value.", name)
        found[name] = value
    return found


def limit_of(query: dict[str, str]) -> int:
    """Rows a page: 1 to 500."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise Refused("parameter-invalid", f"limit must be 1 to {MAX_LIMIT}.", "limit")
    return int(text)


def paged_of(query: dict[str, str]) -> int | None:
    """Rows a page of a list that is whole unless somebody asks for pages; None: neither limit nor cursor was given."""
    return limit_of(query) if query.keys() & {"limit", "cursor"} else None


def one_of(query: dict[str, str], name: str, values: Collection[str]) -> str | None:
    """The value of a parameter that is one of ``values``, or None when it was not given."""
    value = query.get(name)
    if value is not None and value not in values:
        raise Refused("parameter-invalid", f"{name} must be one of {', '.join(values)}.", name)
    return value


def fields_of(query: dict[str, str], record: type[Struct]) -> frozenset[str] | None:
    """The fields of ``record`` that ``fields`` names, with commas between; None when it was not given."""
    text = query.get("fields")
    if text is None:
        return None
    wanted = frozenset(text.split(","))
    if not wanted.issubset(record.__struct_fields__):
        raise Refused("parameter-invalid", f"fields must be some of {','.join(record.__struct_fields__)}.", "fields")
    return wanted


def number_of(text: str, name: str, most: int = MAX_NUMBER) -> int:
    """A number from 0 to ``most`` in a path or query."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= most):
        raise Refused("parameter-invalid", f"{name} must be a number, at most {most}.", name)
    return int(text)


def cursor_after(position: str | int) -> str:
    """The cursor of the page that begins after ``position``."""
    return base64.urlsafe_b64encode(f"1:{position}".encode()).decode().rstrip("=")


def position_of(query: dict[str, str]) -> str | None:
    """Where the page begins, or None for the first; raises Refused for a cursor not made here."""
    cursor = query.get("cursor")
    if cursor is None:
        return None
    try:
        if len(cursor) > _MAX_CURSOR_BYTES:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        text = ""
    if len(text) < 3 or not text.startswith("1:") or "\0" in text:
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", "cursor")
    return text[2:]


def number_position_of(query: dict[str, str], most: int = MAX_NUMBER) -> int | None:
    """As :func:`position_of`, for lists in the order of a number that is at most ``most``."""
    text = position_of(query)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= most):
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", "cursor")
    return int(text)

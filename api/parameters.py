"""What the table of operations is made of: a call, its parameters, and the parameters that many calls share.

What may not enter: calls themselves (api/operations.py).
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct


class Parameter(Struct, frozen=True):
    """A query parameter, path part or header."""

    name: str
    description: str
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    required: bool = False


class Deprecated(Struct, frozen=True, kw_only=True):
    """That a call will go away. Raises ValueError when it would go before it was said, or an instant has no zone."""

    since: datetime
    #: What callers do instead, a clause without a full stop.
    instead: str
    #: From then on it need not answer any more; None: not decided.
    sunset: datetime | None = None
    #: Where that is written down.
    page: str = "/schema/openapi.json"

    def __post_init__(self) -> None:
        if self.since.tzinfo != UTC or (self.sunset is not None and self.sunset.tzinfo != UTC):
            raise ValueError("instants of a deprecation are UTC")
        if self.sunset is not None and self.sunset < self.since:
            raise ValueError("a call cannot go away before it is deprecated (RFC 9745 section 4)")


class Operation(Struct, frozen=True, kw_only=True):
    """One call."""

    method: str
    path: str
    id: str
    summary: str
    #: Role the key needs, or several of which one is enough; None: no key.
    role: str | tuple[str, ...] | None = "read"
    parameters: tuple[Parameter, ...] = ()
    #: Media type -> type of the body.
    body: dict[str, Any] | None = None
    body_required: bool = True
    #: Status -> type of the body, or a tuple of types it may have; None: no body.
    answers: dict[int, Any]
    #: Statuses of problems besides 400, 401, 403, 429, 431, 500 that every call can have.
    problems: tuple[int, ...] = ()
    answer_media_type: str = "application/json"
    #: What each line of the answer is, where lines were sent.
    answer_line: Any = None
    #: Set when it will go away: its answers say so, and the documents.
    deprecated: Deprecated | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of which a key needs one; none: no key is needed."""
        return () if self.role is None else (self.role,) if isinstance(self.role, str) else self.role


LOT = Parameter("lot", "Lot id, percent-encoded.", {"type": "string", "minLength": 1}, "path", True)
CURSOR = Parameter("cursor", "`next` of the page before.")
#: Of lists that are whole when nobody asks for pages: version 1 had them so first.
PAGES = (
    Parameter("cursor", "`next` of the page before."),
    Parameter("limit", "Rows a page; all come where neither this nor `cursor` is given.",
              {"type": "integer", "minimum": 1, "maximum": 500}),
)  # fmt: skip
LIMIT = Parameter("limit", "Rows a page.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100})
IF_MATCH = Parameter("If-Match", 'The lot\'s version as its ETag says it, such as `"3"`; `*`: any.', place="header")
IF_NONE_MATCH = Parameter("If-None-Match", "An ETag; answered 304 when it is still right.", place="header")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "New for each intention, the same for each retry.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "header",
    True,
)
PREFER = Parameter("Prefer", "`return=minimal`: answers without their decisions.", place="header")
DELIVERY = Parameter("delivery", "Number of the delivery.", {"type": "integer", "minimum": 1}, "path", True)
DIGEST = Parameter("digest", "`active`, a digest, or its first digits.", place="path", required=True)
TARGET = Parameter("target", "Only this target.")
TARGET_NAME = Parameter("target", "Its name, such as erp or wms.", place="path", required=True)
TASK = Parameter("task", "Number of the task.", {"type": "integer", "minimum": 1}, "path", True)
SUBSCRIPTION = Parameter("subscription", "Its id: `hook-` and 8 digits.", place="path", required=True)
HOLD = Parameter("hold", "Its id.", place="path", required=True)
NUMBER = Parameter("number", "Its number.", {"type": "integer", "minimum": 1}, "path", True)
RECALL = Parameter("recall", "Its id.", place="path", required=True)
KIND = Parameter(
    "kind", "inspection-plan, fact, order, allocation, customer, calendar, routing, hold-reason or shelf-life.",
    place="path", required=True,
)  # fmt: skip
ORDER = Parameter("order", "Number of the sales order.", {"type": "string", "minLength": 1}, "path", True)
CONCESSION = Parameter(
    "number", "Number of the concession.", {"type": "string", "minLength": 1, "maxLength": 64}, "path", True
)
OPERATION = Parameter("operation", "Number of the operation.", {"type": "string", "minLength": 1}, "path", True)
KEY = Parameter("key", "Key of the record.", {"type": "string", "minLength": 1, "maxLength": 64}, "path", True)
AFTER_LINE = Parameter("after_line", "Only what stands behind this line: to go on with an import that broke off.")
DRY_RUN = Parameter("dry_run", "`yes`: say what would be, change nothing.")
FIELDS = Parameter("fields", "Only these fields of each record, commas between.")
STATE = Parameter("state", "Only lots in this state.")
#: Which changes a reader of the feed wants.
WANTED = (
    Parameter("lot", "Only changes of this lot."),
    Parameter("type", "Only entries of this type, such as `lot.released.v1`."),
    Parameter("kind", "Only `event`, `consequence` or `refusal`."),
    Parameter("item", "Only lots of this item."),
    Parameter("plant", "Only lots of this plant."),
)


def reading(
    path: str, name: str, summary: str, answer: Any, *parameters: Parameter, more: tuple[int, ...] = ()
) -> Operation:
    """The row of a GET that answers 200 with ``answer``."""
    return Operation(
        method="get",
        path=path,
        id=name,
        summary=summary,
        parameters=parameters,
        answers={200: answer},
        problems=(404, *more),
    )

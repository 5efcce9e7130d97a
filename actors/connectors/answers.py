"""What an answer means: lines of a connector file, looked at in order, and what HTTP says where no line fits.

Real systems refuse with 200 and fail for ever with 500, so that a line may look at status, headers and body. What may
not enter: calls, and what follows.
"""

import email.utils
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, json

from actors.connectors.client import Answer
from actors.connectors.expressions import ExpressionFailed, compiled, expressions_in, render, shown

#: applied: the target agrees now · duplicate, in_sync: it agreed before · ignored: it need not be told ·
#: superseded: it knows something newer · missing: it does not know the lot · retry: not now · throttle: too fast ·
#: unknown: it was told and nothing came back · conflict: somebody has to do something there first ·
#: auth: it does not accept our key · permanent: never so.
Outcome = Literal[
    "applied", "duplicate", "in_sync", "ignored", "superseded", "missing",
    "retry", "throttle", "unknown", "conflict", "auth", "permanent",
]  # fmt: skip
#: Nothing is left to tell.
AGREED: tuple[Outcome, ...] = ("applied", "duplicate", "in_sync", "ignored")
#: They say something about the target or the way to it, and not about the delivery.
TROUBLE: tuple[Outcome, ...] = ("retry", "throttle", "unknown", "auth")
#: Statuses that do the same.
AWAY = frozenset({408, 425, 429, 502, 503, 504})
#: What ``when`` and ``message`` of a line may use.
NAMES = ("status", "headers", "body", "text")
_BUILT_IN: dict[int, Outcome] = {
    401: "auth", 403: "auth", 407: "auth", 408: "retry", 423: "retry", 425: "retry", 429: "throttle",
}  # fmt: skip


class Seen(Struct, frozen=True):
    """An answer as lines see it."""

    status: int
    #: Names in lower case.
    headers: dict[str, str]
    #: The JSON of it; None: it is none.
    body: Any
    text: str = ""

    def names(self) -> dict[str, Any]:
        """As expressions see it."""
        return {"status": self.status, "headers": self.headers, "body": self.body, "text": self.text}


class Meaning(Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer means: the first line that fits counts."""

    outcome: Outcome
    #: HTTP statuses it holds for; empty: every one.
    status: list[Annotated[int, Meta(ge=100, le=599)]] = []
    #: Members that the JSON body must have, with these values; members of members the same way.
    body: dict[str, Any] = {}
    #: Headers that the answer must have, with these values.
    headers: dict[str, str] = {}
    #: An expression that has to be true; one that this answer was not made for is not.
    when: str | None = None
    #: What people are told, with ``${expression}`` in it; empty: the answer.
    message: str = ""


def seen(answer: Answer) -> Seen:
    """``answer`` as lines see it."""
    try:
        body = json.decode(answer.body)
    except (ValueError, RecursionError):
        body = None
    return Seen(answer.status, answer.headers, body, answer.body.decode("utf-8", "replace"))


def fitting(lines: Sequence[Meaning], answer: Seen, names: Mapping[str, Any] | None = None) -> Meaning | None:
    """The first line that fits; None when none does. ``names``: what expressions may use beside the answer."""
    for line in lines:
        if line.status and answer.status not in line.status:
            continue
        if line.body and not _has(answer.body, line.body):
            continue
        if any(answer.headers.get(name.lower()) != value for name, value in line.headers.items()):
            continue
        if line.when is None or _holds(line.when, {**(names or {}), **answer.names()}):
            return line
    return None


def by_http(status: int) -> Outcome:
    """What HTTP says: 2xx applied, 401 403 auth, 429 throttle, 408 423 425 5xx retry, everything else permanent."""
    listed = _BUILT_IN.get(status)
    if listed is not None:
        return listed
    if 200 <= status < 300:
        return "applied"
    return "retry" if status >= 500 else "permanent"


def retry_after_seconds(answer: Answer, now: float) -> float | None:
    """How long the target asks us to wait, by its ``Retry-After``; ``now``: seconds since 1970."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - now)


def said(line: Meaning | None, answer: Seen, names: Mapping[str, Any] | None = None) -> str:
    """What ``line`` tells people; empty: nothing of its own."""
    if line is None or not line.message:
        return ""
    try:
        return shown(render(line.message, {**(names or {}), **answer.names()}))
    except ExpressionFailed as failed:
        return f"{line.message} ({failed})"


def wrong(where: str, lines: Sequence[Meaning], names: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Every mistake in expressions of ``lines``: where, and what."""
    known = names | {*NAMES}
    for index, line in enumerate(lines):
        for part, text, whole in (("when", line.when, True), ("message", line.message, False)):
            try:
                inner = [] if text is None else [compiled(text)] if whole else list(expressions_in(text))
            except ValueError as error:
                yield f"{where}[{index}].{part}", str(error)
            else:
                yield from ((f"{where}[{index}].{part}", words) for e in inner for words in e.unknown(known))


def _holds(text: str, names: Mapping[str, Any]) -> bool:
    try:
        return compiled(text)(names) is True
    except ExpressionFailed:
        return False


def _has(found: Any, wanted: Any) -> bool:
    """Whether ``found`` says all of ``wanted``; what it says besides does not matter, however deep it is."""
    if isinstance(wanted, dict) and wanted:
        return isinstance(found, dict) and all(name in found and _has(found[name], v) for name, v in wanted.items())
    return bool(found == wanted)

"""Reading a target back: what it says of a lot now, by the ``read_back`` part of its connector file.

What may not enter: what ought to be (engine/drift.py), and what follows (actors/reconcile.py).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Protocol
from urllib.parse import quote

from msgspec import Meta, Struct, json

from actors.connectors.auth import LoginFailed, Session
from actors.connectors.client import Answer, NoAnswer
from actors.connectors.masks import Masks
from actors.connectors.template import STATUS, fill, names_in
from engine.errors import LotgateError
from engine.events import Repairable

Path = Annotated[str, Meta(pattern="^/")]


#: What the path of a document may use beside the status of the lot.
DOCUMENT_NAMES = ("order", "receipt", "supplier")
#: A target that lets blocked lots leave is read back this many times as often.
UNENFORCED = 4


class Listing(Struct, frozen=True, forbid_unknown_fields=True):
    """Every lot, page by page; quicker than one by one."""

    #: ``${after}`` is empty for the first page, then ``next`` of the page before.
    path: Path
    #: Members of the answer: the list, the address of the next page (null: the last), and the lot of one element.
    items: str = "items"
    next: str = "next"
    lot: str = "lot"


class ReadBack(Struct, frozen=True, forbid_unknown_fields=True):
    """How to ask the target what it says, and what it ought to say."""

    #: Members of the answer -> what they have to say, as templates like those of ``deliver``.
    expect: Annotated[dict[str, Any], Meta(min_length=1)]
    #: One lot; 404 means that the target does not know it. Needed where the protocol does not say how to read.
    path: Path | None = None
    #: Member that has the version which the target was told last; none: it keeps no version.
    version: str | None = None
    #: Members -> values that mean that the lot has left: shipped, issued.
    gone: dict[str, list[Any]] = {}
    headers: dict[str, str] = {}
    list: Listing | None = None
    #: Documents of the target that somebody may ask for beside the lot: name -> path, with ``order``, ``receipt`` and
    #: ``supplier`` of the lot as well. One whose path needs what the lot does not have is left out.
    documents: dict[str, Path] = {}
    #: Does the target itself refuse to ship a blocked lot? Where it does not, somebody has to watch more closely.
    enforces: bool = True
    #: How often the clock reads it back, four times as often where it does not enforce; 0: only when asked to.
    every_s: Annotated[float, Meta(ge=0)] = 3600.0
    #: What is told again by itself; everything else is a task for somebody.
    repair: tuple[Repairable, ...] = ("differs", "unknown-lot")
    #: Lots told again in one reading, at the most: a file that reads the wrong member must not turn everything over.
    repairs_at_most: Annotated[int, Meta(ge=0)] = 100


def period_seconds(read_back: ReadBack) -> float:
    """How often the clock reads the target back."""
    return read_back.every_s if read_back.enforces else read_back.every_s / UNENFORCED


class NotRead(LotgateError):
    """The target could not be read back."""

    code = "target-not-read"
    title = "The target could not be read back"


Members = Mapping[str, Any]


def wrong(read_back: ReadBack | None) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Every template of the part: where, what, and the names that it may use."""
    if read_back is None:
        return
    yield "read_back.path", read_back.path or "", STATUS
    yield "read_back.expect", read_back.expect, (*STATUS, "target_stock")
    for name, path in read_back.documents.items():
        yield f"read_back.documents.{name}", path, (*STATUS, "target_stock", *DOCUMENT_NAMES)
    if read_back.list is not None:
        yield "read_back.list.path", read_back.list.path, ("after",)


def secrets_of(read_back: ReadBack | None) -> Iterator[tuple[str, str]]:
    """Every header: its place, its template."""
    for name, value in ({} if read_back is None else read_back.headers).items():
        yield f"read_back.headers.{name}", value


class TargetReader(Protocol):
    """Reads one target back, by whatever protocol it has. Raises NotRead for whatever keeps it from doing so."""

    def close(self) -> None:
        """Cut off what is under way; close every connection."""

    def one(self, known: Members) -> Members | None:
        """What the target says of one lot; None: it does not know it. ``known``: values of templates."""

    def document(self, path: str, known: Members) -> Members | None:
        """What stands at ``path``, a template; None: the target has no such thing."""

    def page(self, listing: Listing, after: str) -> tuple[dict[str, Members], str | None]:
        """One page of what the target says: lot -> members; and where the next one begins."""


class Reader:
    """Reads one target back over plain HTTP. Raises NotRead for whatever keeps it from doing so."""

    def __init__(
        self, name: str, session: Session, masks: Masks, read_back: ReadBack, secrets: Mapping[str, str]
    ) -> None:
        self._name = name
        self._read_back = read_back
        self._session = session
        self._masks = masks
        self._headers = {header: str(fill(value, secrets)) for header, value in read_back.headers.items()}

    def close(self) -> None:
        """Cut off what is under way; close every connection."""
        self._session.stop()
        self._session.close()

    def one(self, known: Members) -> Members | None:
        """What the target says of one lot; None: it does not know it. ``known``: values of templates."""
        return self.document(self._read_back.path or "/", known)

    def document(self, path: str, known: Members) -> Members | None:
        """What stands at ``path``, a template; None: the target has no such thing."""
        answer = self._get(str(fill(path, known, escape=True)))
        return None if answer.status == 404 else self._object(answer)

    def page(self, listing: Listing, after: str) -> tuple[dict[str, Members], str | None]:
        """One page of what the target says: lot -> members; and where the next one begins."""
        path = listing.path.replace("${after}", quote(after, safe=""))
        seen = self._object(self._get(path))
        items, following = seen.get(listing.items), seen.get(listing.next)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise NotRead(f"{self._name}: its list has no {listing.items}.")
        return {str(item.get(listing.lot)): item for item in items}, None if following is None else str(following)

    def _get(self, path: str) -> Answer:
        try:
            return self._session.call("GET", path, self._headers, None)
        except (NoAnswer, LoginFailed) as none:
            raise NotRead(self._masks.text(f"{self._name}: {none.detail}")) from None

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            seen = json.decode(answer.body)
        except (ValueError, RecursionError):
            seen = None
        if answer.status != 200 or not isinstance(seen, dict):
            raise NotRead(f"{self._name} answered {answer.status} when it was read back.")
        return seen


def differing(read_back: ReadBack, known: Members, seen: Members) -> tuple[dict[str, str], dict[str, str]]:
    """Members that do not say what they have to: expected, observed, as text. Both empty: it agrees."""
    expected = {name: fill(template, known) for name, template in read_back.expect.items()}
    wrong = [name for name, value in expected.items() if not _same(value, seen.get(name))]
    return {n: _text(expected[n]) for n in wrong}, {n: _text(seen.get(n)) for n in wrong}


def version_of(read_back: ReadBack, seen: Members) -> int | None:
    """The version that the target was told last, as it says."""
    found = None if read_back.version is None else seen.get(read_back.version)
    return int(found) if isinstance(found, int) or (isinstance(found, str) and found.isdigit()) else None


def has_left(read_back: ReadBack, seen: Members) -> bool:
    """Does the target say that the lot is gone?"""
    return any(seen.get(name) in values for name, values in read_back.gone.items())


def _same(expected: Any, observed: Any) -> bool:
    return bool(expected == observed) or (isinstance(expected, str) and expected == _text(observed))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.encode(value).decode()


def unknown_names(template: Any, allowed: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the names in ``template``, in words."""
    for name in names_in(template):
        if name is None:
            yield "a ${ is not closed"
        elif name not in allowed:
            yield f"${{{name}}} is not known; known: {', '.join(sorted(allowed))}"

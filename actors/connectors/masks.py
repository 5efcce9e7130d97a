"""What people see of a call: without the secrets that were in it. What may not enter: what a call means."""

import base64
import html
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from msgspec import json

#: Headers that are never shown, whatever stands in them.
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-csrf-token"})
#: What stands in the place of a secret.
MASK = "***"
#: What a target gave for our secrets is looked for while it is one of so many; what came before has ended long ago.
FETCHED = 64
#: Something shorter that a target gave is no secret (a user's number, a language), and stands in every other text.
SHORTEST = 6


class Masks:
    """The secrets that one target is told: those of its file, and what it was given for them. Thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._own: set[str] = set()
        self._fetched: OrderedDict[str, set[str]] = OrderedDict()
        #: Longer ones are looked for first: one may be a part of another.
        self._looked_for: tuple[str, ...] = ()
        for secret in secrets:
            self.add(secret)

    def __len__(self) -> int:
        return len(self._looked_for)

    def add(self, secret: str) -> None:
        """From now on this is never shown."""
        with self._lock:
            self._own.update(_forms(secret))
            self._sort()

    def fetched(self, secret: str) -> None:
        """This came from the target (a token, a cookie) and is not shown while it may still be good."""
        if len(secret) < SHORTEST:
            return
        with self._lock:
            self._fetched[secret] = set(_forms(secret))
            self._fetched.move_to_end(secret)
            while len(self._fetched) > FETCHED:
                self._fetched.popitem(last=False)
            self._sort()

    def _sort(self) -> None:
        self._looked_for = tuple(sorted(self._own.union(*self._fetched.values()), key=len, reverse=True))

    def text(self, text: str) -> str:
        """``text`` as people may see it: a target may give back what it was sent."""
        for secret in self._looked_for:
            text = text.replace(secret, MASK)
        return text

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers as people may see them."""
        return {n: MASK if n.lower() in SECRET_HEADERS else self.text(v) for n, v in headers.items()}

    def json(self, value: Any) -> Any:
        """Any JSON as people may see it."""
        if isinstance(value, dict):
            return {self.text(name): self.json(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.json(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value


def _forms(secret: str) -> Iterator[str]:
    """How ``secret`` may be written: as it is, in JSON, addresses, forms, HTML, Python's own way, base64."""
    if not secret:
        return
    yield secret
    written = json.encode(secret).decode()[1:-1]
    yield from (written, written.replace("/", "\\/"), written.encode("ascii", "backslashreplace").decode())
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield from (html.escape(secret), html.escape(secret, quote=False), repr(secret)[1:-1])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret.encode()).decode().rstrip("=")

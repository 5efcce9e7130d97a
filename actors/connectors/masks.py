"""What people see of a call: without the secrets that were in it. What may not enter: what a call means."""

from collections.abc import Iterable, Mapping
from typing import Any

#: Headers that are never shown, whatever stands in them.
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-csrf-token"})
#: What stands in the place of a secret.
MASK = "***"


class Masks:
    """The secrets that one target is told: those of its file, and what it was given for them (tokens, cookies)."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """From now on this is never shown. Longer ones are looked for first: one may be a part of another."""
        if secret and secret not in self._secrets:
            self._secrets = sorted([*self._secrets, secret], key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` as people may see it: a target may give back what it was sent."""
        for secret in self._secrets:
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

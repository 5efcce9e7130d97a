"""Calls to one target, by its connector file. One HTTP client a worker process and target, kept alive.

What it gives back is an :class:`Exchange`; it raises nothing for what a target or a network does.
"""

import email.utils
import time
from typing import Any

import httpx
from msgspec import Struct, json

from actors.connectors.format import Connector, Outcome, Request, fill, meaning, values
from engine.ledger import Delivery

#: A target that answers more than this is not answering us.
MAX_ANSWER_BYTES = 200_000
#: How much of a body is kept for people.
KEPT_BYTES = 2000
_SECRET_HEADERS = {"authorization", "x-api-key", "cookie"}


class Exchange(Struct):
    """What was sent, what came back, and what it means."""

    outcome: Outcome
    #: A sentence for people.
    detail: str
    #: Seconds that the target asked us to wait.
    retry_after_seconds: float | None
    request: dict[str, Any]
    status: int | None
    answer: str

    def kept(self) -> str:
        """The exchange as the ledger keeps it."""
        return json.encode({"request": self.request, "status": self.status, "answer": self.answer}).decode()


class Target:
    """One target system."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        limits = connector.limits
        self._client = httpx.Client(
            base_url=connector.base_url,
            timeout=httpx.Timeout(limits.timeout_s, connect=min(5.0, limits.timeout_s)),
            limits=httpx.Limits(max_connections=limits.concurrency * 2, max_keepalive_connections=limits.concurrency * 2),
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def deliver(self, delivery: Delivery) -> Exchange:
        """Tell the target the status; register the lot first where the target does not know it."""
        known = values(self.connector, delivery.status, delivery.key)
        told = self._call(self.connector.deliver, known)
        if told.outcome != "missing" or self.connector.register is None:
            return self._final(told)
        registered = self._call(self.connector.register, known)
        if registered.outcome not in ("applied", "duplicate"):
            return self._final(registered)
        return self._final(self._call(self.connector.deliver, known))

    def _final(self, exchange: Exchange) -> Exchange:
        if exchange.outcome == "missing":
            exchange.outcome = "permanent"
        return exchange

    def _call(self, request: Request, known: dict[str, Any]) -> Exchange:
        path = fill(request.path, known, escape=True)
        headers = {name: str(fill(value, known)) for name, value in request.headers.items()}
        body = None if request.json is None else fill(request.json, known)
        sent = {"method": request.method, "path": path, "headers": redacted(headers), "json": body}
        content = None if body is None else json.encode(body)
        if content is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            with self._client.stream(request.method, path, headers=headers, content=content) as answer:
                text = _read(answer)
        except httpx.ConnectError as error:
            return Exchange("retry", f"{self.connector.name} cannot be reached: {error}", None, sent, None, "")
        except httpx.TimeoutException as error:
            words = f"{self.connector.name} did not answer in time ({type(error).__name__})"
            return Exchange("retry", words, None, sent, None, "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Sent, but no answer: the same key makes sending again safe.
            words = f"{self.connector.name} broke off without an answer: {error}"
            return Exchange("retry", words, None, sent, None, "")
        return self._meaning(answer, text, sent)

    def _meaning(self, answer: httpx.Response, text: bytes, sent: dict[str, Any]) -> Exchange:
        try:
            body = json.decode(text)
        except (ValueError, RecursionError):
            body = None
        outcome = meaning(self.connector, answer.status_code, body)
        if outcome in ("applied", "duplicate") and body is None:
            # 200 with something that is not the target's JSON is some proxy, not the target.
            outcome = "retry"
        shown = text[:KEPT_BYTES].decode("utf-8", "replace")
        detail = f"{self.connector.name} answered {answer.status_code}: {shown[:300]}"
        return Exchange(outcome, detail, _retry_after(answer), sent, answer.status_code, shown)


def redacted(headers: dict[str, str]) -> dict[str, str]:
    """Headers without their secrets."""
    return {name: "***" if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}


def _read(answer: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise httpx.DecodingError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return b"".join(parts)


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())

"""The story's HTTP calls, to Lotgate, ERP and WMS. Every failure becomes one sentence for people."""

import asyncio
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

#: Requests at once, as a plant with a handful of scanners and a laboratory would have.
AT_ONCE = 16
_TIMEOUT_SECONDS = 15.0
#: A refused or lost call is sent again, for the same event has one effect however often it is sent.
_TRIES = 6
_LONGEST_WAIT_SECONDS = 2.0
_PAGE = 500


class StoryFailed(Exception):
    """The story cannot go on; the message says why and what to do."""


class Answered(Struct, frozen=True):
    """What Lotgate answered to one event. `body` is the decision, or the problem."""

    status: int
    replayed: bool
    body: dict[str, Any]


class Calls:
    """The three systems, over HTTP; at most AT_ONCE requests at a time to each."""

    def __init__(self, base_url: str, api_key: str, erp_url: str, wms_url: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        self._lotgate = httpx.AsyncClient(
            base_url=base_url, headers=headers, limits=limits, timeout=_TIMEOUT_SECONDS
        )
        self._targets = {
            "ERP": httpx.AsyncClient(base_url=erp_url, limits=limits, timeout=_TIMEOUT_SECONDS),
            "WMS": httpx.AsyncClient(base_url=wms_url, limits=limits, timeout=_TIMEOUT_SECONDS),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in (self._lotgate, *self._targets.values()):
            await client.aclose()

    async def check(self) -> None:
        """Raise StoryFailed unless all three answer and Lotgate takes the key."""
        await self._check("Lotgate", self._lotgate, "/healthz", "Start it with `lotgate up`")
        for name, client in self._targets.items():
            await self._check(f"the sandbox {name}", client, "/healthz", "`lotgate up` starts it too")
        answer = await self._ask(self._lotgate, "GET", "/v1/lots?limit=1")
        if answer.status_code in (401, 403):
            raise StoryFailed(
                f"Lotgate at {self._lotgate.base_url} does not take this API key ({answer.status_code}). "
                "The first `lotgate up` wrote one to var/admin.key; use that, or --key."
            )

    async def submit(self, event: dict[str, Any]) -> Answered:
        """Send one event to Lotgate, again while it is busy."""
        body = msgspec.json.encode(event)
        answer = await self._ask(
            self._lotgate,
            "POST",
            "/v1/events",
            content=body,
            headers={"Content-Type": "application/cloudevents+json"},
        )
        if answer.status_code in (401, 403) or answer.status_code >= 500:
            raise StoryFailed(f"Lotgate answered {answer.status_code} to {event['id']}: {answer.text[:200]}")
        replayed = answer.headers.get("idempotency-replayed") == "true"
        return Answered(answer.status_code, replayed, _json(answer))

    async def lot(self, lot: str) -> dict[str, Any] | None:
        """The lot as Lotgate has it; None when there is no such lot."""
        answer = await self._ask(self._lotgate, "GET", f"/v1/lots/{quote(lot, safe='')}")
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = _good(answer)["lot"]
        return found

    async def records(self, lot: str, part: str) -> list[dict[str, Any]]:
        """All records of one kind (`journal`, `deliveries`) of a lot, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            path = f"/v1/lots/{quote(lot, safe='')}/{part}"
            page = _good(
                await self._ask(self._lotgate, "GET", f"{path}?cursor={quote(cursor)}" if cursor else path)
            )
            found += page["data"]
            cursor = page["next"]
        return found

    async def stock(self, target: str, prefix: str) -> dict[str, dict[str, Any]]:
        """Every lot of this run that the ERP or the WMS shows, by id."""
        path, field = ("/api/lots", "lots") if target == "ERP" else ("/stock", "stock")
        found: dict[str, dict[str, Any]] = {}
        after = prefix
        while True:
            query = f"{path}?after={quote(after, safe='')}&limit={_PAGE}"
            page = _good(await self._ask(self._targets[target], "GET", query))
            found |= {lot["lot"]: lot for lot in page[field] if lot["lot"].startswith(prefix)}
            last = page["next"]
            if last is None or not last.startswith(prefix):
                return found
            after = last

    async def _check(self, name: str, client: httpx.AsyncClient, path: str, advice: str) -> None:
        try:
            answer = await client.get(path)
        except httpx.HTTPError as error:
            raise StoryFailed(
                f"{name} does not answer at {client.base_url} ({_why(error)}). {advice}."
            ) from None
        if answer.status_code != 200:
            raise StoryFailed(
                f"{name} at {client.base_url} is not well: {path} answers {answer.status_code}."
            )

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        """One call, sent again after a lost connection, a 429 or a 503."""
        for attempt in range(1, _TRIES + 1):
            wait = 0.1 * 2**attempt
            try:
                answer = await client.request(method, path, **more)
            except httpx.TransportError as error:
                if attempt == _TRIES:
                    raise StoryFailed(f"{method} {client.base_url}{path} failed: {_why(error)}.") from None
            else:
                if answer.status_code not in (429, 503) or attempt == _TRIES:
                    return answer
                told = answer.headers.get("retry-after", "")
                wait = float(told) if told.isdigit() else wait
            await asyncio.sleep(min(wait, _LONGEST_WAIT_SECONDS))
        raise AssertionError("the last attempt returns or raises")


def _good(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise StoryFailed(f"GET {answer.url} answered {answer.status_code}: {answer.text[:200]}")
    return _json(answer)


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StoryFailed(f"{answer.url} answered something that is not JSON: {error}") from None


def _why(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__

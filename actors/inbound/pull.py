"""Rows that are fetched, for systems that tell nobody: GET, page by page, from a watermark on, safe to repeat.

Rows are handed over page by page; the watermark moves when all of them were. So a process that is killed, or a system
that fails on its tenth page, costs only that rows come again, which changes nothing. Addresses are the operator's, as
those of targets are: redirects are not followed, and a link to a next page only on the same system. What may not
enter: when to pull, and what people are told.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from actors.connectors.answers import retry_after_seconds
from actors.connectors.auth import LoginFailed, Session
from actors.connectors.client import Answer, Client, NoAnswer
from actors.connectors.masks import Masks
from actors.connectors.template import fill
from actors.inbound.drop import Outcome, Stopped, go_through
from actors.inbound.format import Inbound, Watermark
from actors.inbound.rows import Cell, RecordRow, Row, RowWrong, become
from actors.inbound.sink import Sink
from actors.pace import Rate
from engine.clock import in_utc

#: Between calls of one page: doubled each time, with full jitter, or as long as the system asks, within reason.
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
TICK_SECONDS = 0.2
#: Bad rows that are kept for people; there may be very many of the same kind.
KEPT_WRONG = 100
SHOWN_CHARACTERS = 200
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class PullFailed(Exception):
    """It could not be fetched to its end; the message says why."""


class Fetched(Struct):
    """What came of a pull."""

    outcome: Outcome
    #: The newest row's; None: it does not move.
    watermark: str | None = None
    #: Keys of the records that the whole list has.
    keys: set[str] = set()


class Fetching:
    """One pull of one inbound file."""

    def __init__(
        self,
        inbound: Inbound,
        timezone: tzinfo,
        now: Callable[[], datetime],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        if inbound.pull is None:
            raise AssertionError("an inbound file of kind pull has a part pull")
        self._inbound, self._pull, self._timezone = inbound, inbound.pull, timezone
        self._now, self._stopped = now, stopped
        parts = urlsplit(inbound.pull.base_url)
        self._origin, self._prefix = f"{parts.scheme}://{parts.netloc}", parts.path
        self._masks = Masks(inbound.secrets.values())
        client, seconds = Client(self._origin, inbound.pull.timeout_s), inbound.pull.timeout_s
        self._session = Session(client, inbound.pull.auth, None, inbound.secrets, self._masks, seconds, self._prefix)
        self._rate = Rate(inbound.pull.per_second, time.monotonic())
        self._headers = {n: str(fill(v, inbound.secrets)) for n, v in inbound.pull.headers.items()}

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def run(self, sink: Sink, watermark: str | None) -> Fetched:
        """Fetch what is new since ``watermark``, hand it over. Raises PullFailed, Stopped, and what the sink raises."""
        mark = self._pull.watermark
        counts: Counter[str] = Counter()
        outcome, found, newest = Outcome(self._inbound.name), set[str](), watermark
        held = False
        for rows, items in self.pages(since(mark, watermark)):
            done, wrong = go_through(self._inbound, rows, sink, self._timezone, self._stopped)
            counts += done
            outcome.rows += len(rows)
            outcome.wrong += [one for _, one in wrong][: KEPT_WRONG - len(outcome.wrong)]
            held = held or any(not one.decided for _, one in wrong)
            if mark is not None:
                newest = self._newest(mark, newest, items)
            if self._inbound.record is not None and self._inbound.record.withdraw_at_most:
                found |= self._keys(rows)
        outcome.counts = dict(counts)
        # What could be mended at its source comes again until it is; what was decided never changes.
        return Fetched(outcome, None if held else newest, found)

    def pages(self, since_: str) -> Iterator[tuple[list[Row], list[Any]]]:
        """Rows and what they were made of, page by page. Raises PullFailed, Stopped."""
        pull, number = self._pull, 0
        known: dict[str, Any] = {"since": since_, "cursor": "", "page": 1, "offset": 0}
        path = self._prefix + str(fill(pull.path, known, escape=True))
        seen = {path}
        for _ in range(pull.max_pages):
            body = self._json(self._get(path))
            items = member(body, pull.items) if pull.items is not None else body
            if not isinstance(items, list):
                shown = self._short(json.dumps(body, default=str))
                raise PullFailed(f"the answer has no list {pull.items or ''}: {shown}")
            yield [self._row(number + n, item) for n, item in enumerate(items, 1)], items
            number += len(items)
            following = self._following(body, items, known, number)
            if following is None:
                return
            if following in seen:
                raise PullFailed("its list does not end: the same page comes again")
            seen.add(following)
            path = following
        raise PullFailed(f"its list has more than {pull.max_pages} pages (pull.max_pages)")

    def _following(self, body: Any, items: list[Any], known: dict[str, Any], number: int) -> str | None:
        """Path of the next page; None: that was the last."""
        pull = self._pull
        if pull.paging == "one" or (pull.paging in ("page", "offset") and not items):
            return None
        if pull.paging == "link":
            link = member(body, pull.next)
            return None if link in (None, "") else self._same_system(str(link))
        if pull.paging == "cursor":
            cursor = member(body, pull.next)
            if cursor in (None, "", False):
                return None
            known["cursor"] = cursor
        else:
            known |= {"page": known["page"] + 1, "offset": number}
        return self._prefix + str(fill(pull.path, known, escape=True))

    def _same_system(self, link: str) -> str:
        there = urlsplit(urljoin(self._pull.base_url + "/", link))
        if f"{there.scheme}://{there.netloc}" != self._origin or not link.isprintable():
            shown = repr(link[:SHOWN_CHARACTERS])
            raise PullFailed(f"the next page is said to be at {shown}, another system, which is not called")
        return there.path + (f"?{there.query}" if there.query else "")

    def _row(self, number: int, item: Any) -> Row:
        if not isinstance(item, dict):
            return Row(number, {}, problem="it is no JSON object")
        cells: dict[str, Cell] = {}
        for name in self._inbound.columns:
            value = member(item, name)
            if isinstance(value, dict | list):
                return Row(number, {}, problem=f"{name} is no single value")
            cells[name] = value
        return Row(number, cells)

    def _keys(self, rows: list[Row]) -> set[str]:
        found = set()
        for row in rows:
            try:
                made = become(self._inbound, row, timezone=self._timezone)
            except RowWrong:
                continue
            if isinstance(made, RecordRow):
                found.add(made.key)
        return found

    def _newest(self, mark: Watermark, newest: str | None, items: list[Any]) -> str | None:
        for item in items:
            said = member(item, mark.member)
            if mark.type == "integer":
                number = _whole(said)
                if number is None:
                    raise PullFailed(f"a row has {said!r} as {mark.member}, which is no whole number")
                newest = str(number) if newest is None or number > int(newest) else newest
                continue
            moment = _moment(said)
            if moment is None:
                raise PullFailed(f"a row has {said!r} as {mark.member}, which is no instant with its zone")
            # A row from the future would hide everything until then.
            moment = min(moment, self._now())
            if newest is None or moment > datetime.fromisoformat(newest):
                newest = moment.astimezone(UTC).isoformat()
        return newest

    def _get(self, path: str) -> Answer:
        """The answer for ``path``, tried again for a while."""
        for attempt in range(1, self._pull.attempts + 1):
            if self._stopped():
                raise Stopped
            wait = random.uniform(0, FIRST_WAIT_SECONDS * 2**attempt)  # noqa: S311 - jitter
            while (gap := self._rate.wait_seconds(time.monotonic())) > 0:
                self._pause(gap)
            try:
                answer = self._session.call("GET", path, self._headers, None)
            except LoginFailed as failed:
                if failed.outcome == "auth" or attempt == self._pull.attempts:
                    raise PullFailed(self._short(f"it does not accept our key: {failed.detail}")) from None
            except NoAnswer as none:
                if none.failure in ("unsendable", "refused", "stopped") or attempt == self._pull.attempts:
                    raise PullFailed(self._short(none.detail)) from None
            else:
                if answer.status == 200:
                    return answer
                if answer.status not in _AGAIN or attempt == self._pull.attempts:
                    self._refuse(answer)
                wait = retry_after_seconds(answer, time.time()) or wait
            self._pause(min(wait, LONGEST_WAIT_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    def _refuse(self, answer: Answer) -> NoReturn:
        said = self._short(answer.body[:4000].decode("utf-8", "replace"))
        if answer.status in (401, 403):
            raise PullFailed(f"it does not accept our key ({answer.status}): {said}")
        if 300 <= answer.status < 400:
            raise PullFailed(f"it answers {answer.status}, a way elsewhere, which is not followed")
        raise PullFailed(f"it answers {answer.status}: {said}")

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError, ArithmeticError):
            words = self._short(answer.body[:4000].decode("utf-8", "replace"))
            raise PullFailed(f"it answers with something that is not JSON: {words}") from None

    def _short(self, text: str) -> str:
        return " ".join(self._masks.text(text).split())[:SHOWN_CHARACTERS]

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._stopped():
                raise Stopped
            time.sleep(min(left, TICK_SECONDS))


def since(mark: Watermark | None, watermark: str | None) -> str:
    """What ``${since}`` is: the watermark less the overlap."""
    if mark is None:
        return ""
    if watermark is None:
        return mark.start
    if mark.type == "integer":
        return str(max(0, int(watermark) - mark.overlap))
    moment = datetime.fromisoformat(watermark) - timedelta(seconds=mark.overlap)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def is_watermark(mark: Watermark, text: str) -> bool:
    """Can ``text`` be a watermark?"""
    return (_whole(text) if mark.type == "integer" else _moment(text)) is not None


def member(tree: Any, path: str) -> Any:
    """A member by its name, or by names with dots between; None: there is none."""
    if isinstance(tree, dict) and path in tree:
        return tree[path]
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def due_after(inbound: Inbound, now: datetime, timezone: tzinfo) -> float:
    """When it is due again after it went well, in seconds since 1970."""
    if inbound.daily_at is None:
        return now.timestamp() + inbound.every_s
    hour, minute = (int(part) for part in inbound.daily_at.split(":"))
    there = now.astimezone(timezone)
    at = there.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # Days, not seconds: on the day on which clocks change it is still at that time.
    return (at if at > there else at + timedelta(days=1)).timestamp()


def _whole(said: Any) -> int | None:
    try:
        return int(str(said))
    except ValueError:
        return None


def _moment(said: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(said))
        return in_utc(moment) if moment.tzinfo is not None else None
    except ValueError:
        return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")

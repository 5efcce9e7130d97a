"""One event to the service, retried until it is answered. A retry is always safe: (source, id) has one effect.

What may not enter: files and spools (api/client/spool.py), what an event means.
"""

import random
import time
from collections.abc import Callable

import httpx
import msgspec
from msgspec import Struct

from api.client.notice import notice

#: How often one event is sent, and the longest wait between two attempts.
TRIES = 8
LONGEST_WAIT_SECONDS = 10.0
#: Answers that say nothing about the event: send it again.
_LATER = frozenset((408, 425, 429, 500, 502, 503, 504))
_HEADERS = {"Content-Type": "application/cloudevents+json"}


class Away(Exception):
    """Nobody answered, or only "later"; nothing is known of the event, and it can be sent again."""


class Shut(Exception):
    """The key does not open this service, or may not send this event; the sentence says which."""


class Answered(Struct, frozen=True):
    """What became of one event."""

    status: int
    #: applied, parked, duplicate, stale …; replayed for an event that was known; a problem's code when it was refused.
    outcome: str
    #: The answer's JSON.
    body: bytes

    @property
    def refused(self) -> bool:
        """It will never be taken as it is."""
        return self.status >= 400


class Caller:
    """A sender of events. Use it as a context manager, from one thread."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tries: int = TRIES,
        timeout_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tries, self._sleep, self._chance = tries, sleep, chance
        headers = {"Authorization": f"Bearer {key}", **_HEADERS}
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_seconds, trust_env=False, headers=headers)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, event: bytes) -> Answered:
        """Send one CloudEvent (JSON, structured mode) until it is answered. Raises Away and Shut."""
        why = ""
        for attempt in range(self._tries):
            # Half of it by chance, so that a thousand gateways do not come back in one moment.
            wait = min(LONGEST_WAIT_SECONDS, 0.2 * 2**attempt) * (0.5 + self._chance() / 2)
            try:
                answer = self._http.post("/v1/events", content=event)
            except httpx.TransportError as error:
                why = f"{self._http.base_url} does not answer ({type(error).__name__})"
            else:
                notice(answer)
                if answer.status_code not in _LATER:
                    return _answered(answer)
                why = f"{self._http.base_url} answers {answer.status_code}"
                told = answer.headers.get("Retry-After", "")
                wait = min(LONGEST_WAIT_SECONDS, float(told)) if told.isdigit() else wait
            if attempt + 1 < self._tries:
                self._sleep(wait)
        raise Away(why)


class _Body(Struct):
    outcome: str = ""
    type: str = ""
    detail: str = ""


def _answered(answer: httpx.Response) -> Answered:
    try:
        body = msgspec.json.decode(answer.content, type=_Body) if answer.content else _Body()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Away(f"{answer.url} answers {answer.status_code}, but no JSON; is that Lotgate?") from None
    if answer.status_code in (401, 403):
        raise Shut(body.detail or f"{answer.url} answers {answer.status_code}")
    if answer.status_code in range(300, 400) or answer.status_code in (404, 405, 410):
        raise Away(f"{answer.url} answers {answer.status_code}; is that Lotgate?")
    if answer.headers.get("Idempotency-Replayed") == "true":
        return Answered(answer.status_code, "replayed", answer.content)
    outcome = body.outcome or body.type.rpartition("/")[2] or str(answer.status_code)
    return Answered(answer.status_code, outcome, answer.content)

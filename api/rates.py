"""How fast each principal may ask: a token bucket each, and the header fields that say how full it is.

The bucket is kept as one number, the instant at which it will be full again (GCRA), so that a look costs the same at
any rate. It is this process's: two web processes let a principal have twice the rate. A hold costs nothing.
What may not enter: who a principal is, what the queue to the database can take (engine/committer.py).
"""

import math
import time
from collections.abc import Callable

from litestar.types import Message, Send

from api.problems import Headers, Refused


class Rates:
    """The buckets of all principals."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        #: False: nobody is limited.
        self.on = per_second > 0
        self._each = 1 / per_second if self.on else 0.0
        self._whole = burst * self._each
        self._policy = b'"default";q=%d;w=%d' % (burst, max(1, math.ceil(self._whole)))
        self._clock = clock
        #: Principal -> when its bucket will be full. As many as there are principals that asked.
        self._full_at: dict[str, float] = {}

    def take(self, principal: str) -> float:
        """Take one token; 0, or the seconds until there is one, with nothing taken."""
        if not self.on:
            return 0.0
        now = self._clock()
        full_at = max(now, self._full_at.get(principal, now))
        wait = full_at + self._each - self._whole - now
        if wait > 1e-9:
            return wait
        self._full_at[principal] = full_at + self._each
        return 0.0

    def charge(self, principal: str) -> None:
        """Take one token; raises Refused (429) when there is none."""
        wait = self.take(principal)
        if wait > 0:
            seconds = max(1, math.ceil(wait))
            detail = f"{principal} may send {self._rate()}; the next request is taken in {seconds} s."
            raise Refused("rate-limited", detail, headers={"retry-after": str(seconds)})

    def _rate(self) -> str:
        return f"{1 / self._each:g} requests and events a second, and {self._whole / self._each:.0f} at once"

    def headers(self, principal: str) -> Headers:
        """``RateLimit-Policy`` and ``RateLimit`` of draft-ietf-httpapi-ratelimit-headers: what is left, until when."""
        used = max(0.0, self._full_at.get(principal, 0.0) - self._clock())
        left = math.floor((self._whole - used) / self._each + 1e-6)
        return [
            (b"ratelimit-policy", self._policy),
            (b"ratelimit", b'"default";r=%d;t=%d' % (max(0, left), math.ceil(used))),
        ]

    def telling(self, send: Send, principal: str) -> Send:
        """``send`` that puts these headers on the answer."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self.headers(principal)]
            await send(message)

        return told

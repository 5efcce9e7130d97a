"""The hot path: one event in, the committed decision out.

One ASGI handler without middleware, dependency injection or Litestar's lenient body decoding. It reads,
decodes strictly, submits to the pipeline and waits until the decision is on disk. What may not enter:
deciding anything.
"""

from litestar.types import Receive, Scope, Send

from api.answers import admit, send_answer, send_options, send_problem, version_of, visit_of, wants_minimal
from api.batch import BatchPath
from api.body import MAX_EVENT_BYTES, Gone, Patience, whole
from api.cloudevents import Mode, carrying, mode_of, read_event, structured
from api.permits import Permits, check_event
from api.rates import Rates
from engine.committer import Committer
from engine.urgency import is_urgent

PATH = "/v1/events"


class EventPath:
    """``POST /v1/events``."""

    def __init__(
        self, committer: Committer, patience: Patience, batch: BatchPath, permits: Permits, rates: Rates
    ) -> None:
        self._submit = committer.submit
        self._patience = patience
        self._batch = batch
        self._permits = permits
        self._rates = rates

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every refusal is a problem, and counted."""
        visit = visit_of(scope)
        headers = visit.headers
        try:
            if scope["method"] == "OPTIONS":  # type: ignore[typeddict-item]  # an @asgi route is never a web socket
                await send_options(visit.request_id, send)
                return
            admit(scope, visit)
            mode = mode_of(headers)
            if mode is Mode.BATCH or mode is Mode.LINES:
                await self._batch.answer(scope, receive, send)
                return
            body = await self._patience.wait(whole(receive, MAX_EVENT_BYTES, headers.get(b"content-length")))
            event = read_event(body if mode is Mode.STRUCTURED else structured(headers, body))
            if b"traceparent" in headers:
                event = carrying(event, headers)
            if self._rates.on and not is_urgent(event):
                self._rates.charge(visit.principal.name)
            if visit.principal.plants:
                await self._permits.check(visit.principal, event)
            else:
                check_event(visit.principal, event)
            expected = version_of(headers.get(b"if-match"))
            decided = await self._submit(event, visit.principal.name, expected)
        except Gone:
            return
        except Exception as error:  # becomes a problem; the unforeseen is logged on the way
            await send_problem(error, scope, visit, send)
            return
        await send_answer(decided, visit.request_id, send, minimal=wants_minimal(visit))

"""Telling a target that is read first: locate → read → observed → apply → read again, by the steps of its file.

The desired state is told, never an old event: whatever an attempt finds there is brought to what Lotgate says now. A
write that nobody answered is not sent again before the target was read again. What may not enter: the ledger, and when
to call.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from msgspec import UNSET

from actors.connectors.answers import AGREED, AWAY, TROUBLE, Outcome, Seen, by_http, fitting, said, seen
from actors.connectors.auth import LoginFailed
from actors.connectors.client import NoAnswer
from actors.connectors.expressions import ExpressionFailed, compiled, draft, draft_path, render, render_path, shown
from actors.connectors.format import STEP_NAMES, Connector, Request, values
from actors.connectors.http import Call, Exchange, Target
from actors.connectors.masks import Masks
from actors.connectors.procedure import IGNORED, SECTIONS, NamedRequest, Procedure, Step, names_used, sending
from actors.connectors.readback import Listing, Members, NotRead
from actors.connectors.template import fill
from actors.pace import Rate
from engine.effects import StockStatus
from engine.ledger import Delivery, key_of

#: A list in an answer that is longer is nothing of one lot; expressions and ``each`` go through every element.
MOST_ELEMENTS = 1000
#: Calls of one visit that are kept for people: the first, and the last.
KEPT_FIRST, KEPT_LAST = 10, 40
#: Characters of a sentence, and of a body that was sent, that are kept.
SENTENCE, SENT = 1000, 2000
#: Statuses of a gateway that has no answer: what it stands before may still be at work.
_GATEWAY = (502, 504)
#: Quantities are floats in JSON; nothing smaller is stock.
SMALLEST = 1e-6
#: Members that a reading has, and its word for no stock at all.
OBSERVED, LEFT, NOTHING = "observed", "left", "nothing"
_READS = ("GET", "HEAD")


class Ended(Exception):
    """The visit ends here, with this outcome."""

    def __init__(self, outcome: Outcome, detail: str, away: bool = False, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome
        self.detail = detail
        self.away = away
        self.retry_after = retry_after


class StepsTarget(Target):
    """One target that is told by steps."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector)
        self._rate = Rate(connector.limits.per_second, time.monotonic())
        self._turn = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        self._stopped.set()
        super().stop()

    def wait(self) -> None:
        """Until the target may be called again."""
        while not self._stopped.is_set():
            with self._turn:
                gap = self._rate.wait_seconds(time.monotonic())
            if gap <= 0:
                return
            self._stopped.wait(gap)

    def deliver(self, deliveries: Sequence[Delivery], may_call: Callable[[], bool] = lambda: True) -> list[Exchange]:
        """Bring each lot to what ``deliveries`` say; ``may_call`` is asked before every further call."""
        return [self._tell(delivery, may_call) for delivery in deliveries]

    def _tell(self, delivery: Delivery, may_call: Callable[[], bool]) -> Exchange:
        visit = Visit(self, values(self.connector, delivery.status, delivery.key), may_call)
        try:
            outcome, detail = visit.run()
            return Exchange(outcome, self.sentence(detail), _kept(visit.calls))
        except Ended as end:
            # What it does not know after it was registered, or where nothing registers, it never will.
            outcome = "permanent" if end.outcome == "missing" else end.outcome
            return Exchange(outcome, self.sentence(end.detail), _kept(visit.calls), end.retry_after, end.away)

    def sentence(self, text: str) -> str:
        """``text`` as people may see it: masked first, so that no half of a secret stays."""
        return self.masks.text(text)[:SENTENCE]

    def send(
        self, request: Request, path: str, body: Any, may_call: Callable[[], bool] = lambda: True
    ) -> tuple[Exchange, Seen | None]:
        """One call, as people see it, and what came back; without an answer the exchange says why."""
        exchange, answer = self._send(request, path, {}, body, may_call)
        for call in exchange.calls:
            call.path, call.json = self.masks.text(call.path), self.masks.json(call.json)
            written = shown(call.json)
            if len(written) > SENT:
                call.json = written[:SENT]
        return exchange, None if answer is None else seen(answer)


class Visit:
    """One lot on its way through the steps; keeps every call."""

    def __init__(self, target: StepsTarget, known: Mapping[str, Any], may_call: Callable[[], bool]) -> None:
        self.calls: list[Call] = []
        self._target = target
        self._connector = target.connector
        self._may_call = may_call
        #: What is known before the first step, and before ``read``: nothing of an earlier reading is left in a later.
        self._start = names_of(self._connector, known)
        self._located = self._names = dict(self._start)
        self._word = str(known["target_stock"])
        self._writing = False

    @property
    def steps(self) -> Procedure:
        """The steps of the file."""
        return cast(Procedure, self._connector.steps)

    def run(self) -> tuple[Outcome, str]:
        """Tell it; gives an outcome that agrees, and a sentence. Raises Ended for every other."""
        name = self._connector.name
        if self._word == IGNORED:
            return "ignored", f"{name} books {self._names['stock']} by itself"
        if self.agrees(self.look()):
            return "in_sync", f"{name} says {self._word} already"
        self._writing = True
        self.go(self.steps.apply, self._names, "apply")
        self._writing = False
        found = self._read_again()
        if not self.agrees(found):
            raise Ended("retry", f"{name} was told {self._word} and still says {words(found)}")
        return "applied", f"{name} says {self._word}"

    def look(self) -> dict[str, float]:
        """Locate and read; register it first where the target does not know it. Raises Ended."""
        try:
            return self._found()
        except Ended as end:
            if end.outcome != "missing" or not self.steps.register:
                raise
        self._writing = True
        self.go(self.steps.register, self._names, "register")
        self._writing = False
        return self._found()

    def read(self) -> dict[str, float]:
        """What it says, without changing anything. Raises Ended."""
        return self._found()

    def _found(self) -> dict[str, float]:
        self._names = dict(self._start)
        self.go(self.steps.locate, self._names, "locate")
        self._located = self._names
        return self._read_again()

    def _read_again(self) -> dict[str, float]:
        self._names = dict(self._located)
        self.go(self.steps.read, self._names, "read")
        return self.observed()

    def observed(self) -> dict[str, float]:
        """The target's words for the lot, with how much is under each; a word alone stands for all of it."""
        value = self._value(self.steps.observed, self._names, "observed")
        if isinstance(value, dict):
            found = {str(word): quantity for word, quantity in value.items()}
            if all(isinstance(q, int | float) and not isinstance(q, bool) for q in found.values()):
                return {word: float(quantity) for word, quantity in found.items() if abs(quantity) > SMALLEST}
            raise Ended("retry", f"observed gave {shown(value)}: quantities have to be numbers")
        return {} if value is None else {shown(value): 1.0}

    def left(self) -> bool:
        """Has some of it left the house?"""
        return self.steps.left is not None and self._value(self.steps.left, self._names, "left") is True

    def may_be_empty(self) -> bool:
        """Does it agree when nothing of the lot is there?"""
        return self._names["stock"] in ("issued", "none") or self.steps.empty == "ignored"

    def agrees(self, found: Mapping[str, float]) -> bool:
        """Is everything of it where it should be? Raises Ended where nothing of it is there."""
        if found:
            return set(found) == {self._word}
        if self.may_be_empty():
            raise Ended("ignored", f"{self._connector.name} has no stock of the lot")
        raise Ended("conflict", f"{self._connector.name} has no stock of the lot")

    # -- steps -----------------------------------------------------------------------------------------------------

    def go(self, steps: Sequence[Step], names: dict[str, Any], where: str) -> None:
        """Go through ``steps``; what they bind is put into ``names``. Raises Ended."""
        for index, step in enumerate(steps):
            self._step(step, names, f"{where}[{index}]")

    def _step(self, step: Step, names: dict[str, Any], where: str) -> None:
        if step.when is not None and not self._is_true(step.when, names, f"{where}.when"):
            for name in (*step.let, *step.bind):
                names.setdefault(name, None)
            return
        for name, text in step.let.items():
            names[name] = self._value(text, names, f"{where}.let.{name}")
        if step.outcome is not None:
            raise Ended(step.outcome, shown(self._rendered(step.message, names, where)) or f"{where}: {step.outcome}")
        if step.each is not None:
            elements = self._value(step.each, names, f"{where}.each")
            if not isinstance(elements, list):
                raise Ended("retry", f"{where}.each gave {shown(elements)}, and not a list")
            for element in elements:
                self.go(step.steps, {**names, step.element: element}, f"{where}.steps")
        elif step.path is not None or step.use is not None:
            self._send(step, names, where)

    def _send(self, step: Step, names: dict[str, Any], where: str) -> None:
        self._target.wait()
        if not self._may_call():
            raise Ended("retry", "there was no time left for the next call", away=True)
        request, lines, inner = self._request(step, names, where)
        method, path, headers, body = self._written(request, inner, where)
        exchange, answer = self._target.send(Request(method, "/", headers), path, body, self._may_call)
        self.calls += exchange.calls
        if answer is None:
            raise self._unanswered(exchange, method)
        if _is_long(answer.body):
            raise Ended("retry", f"{where}: its answer has a list of more than {MOST_ELEMENTS} elements")
        line = fitting((*lines, *self._connector.classify), answer, inner)
        outcome = by_http(answer.status) if line is None else line.outcome
        if line is None and self._writing and method not in _READS and answer.status in _GATEWAY:
            outcome = "unknown"
        if outcome in AGREED and not self._is_own(answer):
            raise Ended("retry", f"{where}: {exchange.detail}", away=True)
        if outcome in ("applied", "duplicate"):
            # What was done before gave its answer before.
            self._bind(step, names, answer, where) if outcome == "applied" else self._unbound(step, names)
            return
        self._refused(step, names, where, outcome)
        detail = said(line, answer, inner) or f"{where}: {exchange.detail}"
        away = outcome in ("throttle", "auth", "unknown") or answer.status in AWAY
        raise Ended(outcome, detail, away, self._wait(outcome, exchange))

    def _refused(self, step: Step, names: dict[str, Any], where: str, outcome: Outcome) -> None:
        if outcome == "auth":
            self._target.session.forget()
        if step.undo and outcome in ("conflict", "permanent"):
            try:
                self.go(step.undo, dict(names), f"{where}.undo")
            except Ended:
                # The next attempt reads what is there, and goes on from it.
                return

    def _unanswered(self, exchange: Exchange, method: str) -> Ended:
        outcome = exchange.outcome
        if outcome == "retry" and self._writing and method not in _READS and not exchange.unsent:
            return Ended("unknown", exchange.detail, True, self._connector.limits.settle_s)
        return Ended(outcome, exchange.detail, exchange.away, exchange.retry_after_seconds)

    def _wait(self, outcome: Outcome, exchange: Exchange) -> float | None:
        return self._connector.limits.settle_s if outcome == "unknown" else exchange.retry_after_seconds

    def _is_own(self, answer: Seen) -> bool:
        """A success that is no JSON is some proxy's, unless the file says that it is not."""
        return self._connector.answers == "any" or answer.status in (204, 205) or answer.body is not None

    # -- values ----------------------------------------------------------------------------------------------------

    def _request(
        self, step: Step, names: dict[str, Any], where: str
    ) -> tuple[Step | NamedRequest, list[Any], dict[str, Any]]:
        """What is sent, its lines, and the names it may use."""
        if step.use is None:
            return step, step.classify, names
        request = self._connector.requests[step.use]
        given = {name: self._rendered(value, names, f"{where}.with.{name}") for name, value in step.given.items()}
        return request, [*step.classify, *request.classify], {**names, **given}

    def _written(
        self, request: Step | NamedRequest, names: dict[str, Any], where: str
    ) -> tuple[Any, str, dict[str, str], Any]:
        """Method, path with query, headers and body."""
        known = {**names, "secret": self._secrets()}
        if "login" in names_used(request):
            known["login"] = self._login()
        try:
            path = render_path(request.path or "/", request.query, names)
            headers = {name: shown(render(value, known)) for name, value in request.headers.items()}
            body = None if request.json is UNSET else render(request.json, known)
        except ExpressionFailed as failed:
            raise Ended("retry", f"{where}: {failed}") from None
        default = "GET" if request.json is UNSET else "POST"
        return request.method or default, path, headers, body

    def _secrets(self) -> dict[str, str]:
        return {name.removeprefix("secret."): value for name, value in self._connector.secrets.items()}

    def _login(self) -> str:
        try:
            return self._target.session.token()
        except LoginFailed as failed:
            raise Ended(failed.outcome, f"{self._connector.name}: {failed.detail}", away=True) from None
        except NoAnswer as none:
            raise Ended("retry", f"{self._connector.name}: {none.detail}", away=True) from None

    def _bind(self, step: Step, names: dict[str, Any], answer: Seen, where: str) -> None:
        known = {**names, **answer.names()}
        for name, text in step.bind.items():
            names[name] = self._value(text, known, f"{where}.bind.{name}")

    def _unbound(self, step: Step, names: dict[str, Any]) -> None:
        for name in step.bind:
            names.setdefault(name, None)

    def _is_true(self, text: str, names: Mapping[str, Any], where: str) -> bool:
        value = self._value(text, names, where)
        if not isinstance(value, bool):
            raise Ended("retry", f"{where}: {text} gave {shown(value)}, and neither true nor false")
        return value

    def _value(self, text: str, names: Mapping[str, Any], where: str) -> Any:
        try:
            return compiled(text)(names)
        except ExpressionFailed as failed:
            raise Ended("retry", f"{where}: {failed}") from None

    def _rendered(self, value: Any, names: Mapping[str, Any], where: str) -> Any:
        try:
            return render(value, names)
        except ExpressionFailed as failed:
            raise Ended("retry", f"{where}: {failed}") from None


class StepsReader:
    """Reads back what a target that is told by steps says: ``observed``, its word, or each word with its quantity.

    Raises NotRead for whatever keeps it from doing so.
    """

    def __init__(self, connector: Connector, may_call: Callable[[], bool] = lambda: True) -> None:
        """``may_call`` is asked before every call."""
        self._connector = connector
        self._target = StepsTarget(connector)
        self._may_call = may_call

    def close(self) -> None:
        """Cut off what is under way; close every connection."""
        self._target.stop()
        self._target.close()

    def one(self, known: Members) -> Members | None:
        """What the target says of one lot; None: it does not know it."""
        if known["target_stock"] == IGNORED:
            return {OBSERVED: IGNORED, LEFT: False}
        visit = Visit(self._target, known, self._may_call)
        try:
            found = visit.read()
            left = visit.left() and not known["allocatable"]
            if not found and not left and (visit.may_be_empty() or visit.left()):
                # Nothing has to be there, or all of it left as it might.
                return {OBSERVED: known["target_stock"], LEFT: False}
            if not found and not left:
                return None
            return {OBSERVED: f"{words(found)}, and some has left the house" if left else words(found), LEFT: left}
        except Ended as end:
            if end.outcome == "missing":
                return None
            if end.outcome in TROUBLE:
                raise NotRead(self._target.sentence(f"{self._connector.name}: {end.detail}")) from None
            agrees = end.outcome in AGREED
            return {OBSERVED: known["target_stock"] if agrees else self._target.sentence(end.detail), LEFT: False}

    def document(self, path: str, known: Members) -> Members | None:
        """What stands at ``path``, a template; None: the target has no such thing."""
        exchange, answer = self._target.send(Request("GET", "/"), str(fill(path, known, escape=True)), None)
        if answer is not None and answer.status == 404:
            return None
        if answer is None or answer.status != 200 or not isinstance(answer.body, dict):
            raise NotRead(exchange.detail)
        return answer.body

    def page(self, listing: Listing, after: str) -> tuple[dict[str, Members], str | None]:
        """Lots are read one by one: what a list says is not what ``observed`` says."""
        raise NotRead(f"{self._connector.name}: read_back has a list, and steps have none; leave it out")


def _is_long(value: Any) -> bool:
    """Has it a list, or an object, with too many elements, however deep?"""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict | list):
            if len(one) > MOST_ELEMENTS:
                return True
            left.extend(one.values() if isinstance(one, dict) else one)
    return False


def _kept(calls: list[Call]) -> list[Call]:
    return calls if len(calls) <= KEPT_FIRST + KEPT_LAST else [*calls[:KEPT_FIRST], *calls[-KEPT_LAST:]]


def names_of(connector: Connector, known: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions may use before the first step."""
    names = {name: known[name] for name in STEP_NAMES if name in known}
    names["key"] = known.get("key") or key_of(connector.name, known["lot"], known["version"])
    return names | {"today": datetime.now(UTC).date().isoformat(), "constants": connector.constants}


def words(found: Mapping[str, float]) -> str:
    """What was observed, for people: the word, or each with its quantity."""
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{word}: {quantity:g}" for word, quantity in sorted(found.items())) or NOTHING


def unsent(connector: Connector, status: StockStatus, key: str) -> Iterator[tuple[str, Call]]:
    """Every request of the steps, by its place in the file; what an answer has to say first stands as it is written."""
    names = names_of(connector, values(connector, status, key))
    for section in SECTIONS:
        for where, step in sending(f"steps.{section}", getattr(connector.steps, section)):
            request = step if step.use is None else connector.requests[step.use]
            known = {**names, **draft(step.given, names)}
            url = connector.base_url + draft_path(request.path or "/", request.query, known)
            headers = Masks().headers({name: shown(draft(value, known)) for name, value in request.headers.items()})
            body = None if request.json is UNSET else draft(request.json, known)
            default = "GET" if request.json is UNSET else "POST"
            yield where, Call(request.method or default, url, headers, body, None, "", 0.0)

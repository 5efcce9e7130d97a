"""The steps of a connector file that reads before it writes: locate → read → observed → apply → read again.

Data only, checked when the file is loaded: every expression is one, and every name is bound before it is used. What may
not enter: calls (actors/connectors/steps.py).
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct

from actors.connectors.answers import NAMES, Meaning, Outcome
from actors.connectors.answers import wrong as wrong_lines
from actors.connectors.expressions import FUNCTIONS, compiled, expressions_in

Name = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
#: The target's word for a stock status that it books by itself.
IGNORED = "ignore"
#: In the order in which they are gone through.
SECTIONS = ("locate", "register", "read", "apply")
#: What only headers and bodies may use.
_HIDDEN = frozenset({"secret", "login"})


class NamedRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request that several steps use."""

    path: Annotated[str, Meta(pattern="^/")]
    #: What a step has to give it.
    takes: list[Name] = []
    method: Method = "GET"
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    json: Any = UNSET
    classify: list[Meaning] = []


class Step(Struct, frozen=True, forbid_unknown_fields=True, rename={"element": "as", "given": "with"}):
    """One step: a request (``path``, or ``use``), steps for ``each`` of a list, or an end (``outcome``)."""

    #: An expression; the step is passed over unless it is true, and what it would bind is null.
    when: str | None = None
    #: Name -> expression.
    let: dict[Name, str] = {}
    #: An expression that gives a list; ``steps`` are gone through for each element, called ``as``.
    each: str | None = None
    element: Name = "it"
    steps: list["Step"] = []
    #: A request of ``requests``, and what it is given.
    use: str | None = None
    given: dict[Name, Any] = {}
    path: Annotated[str, Meta(pattern="^/")] | None = None
    method: Method | None = None
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    json: Any = UNSET
    classify: list[Meaning] = []
    #: Name -> expression over the answer.
    bind: dict[Name, str] = {}
    #: What is sent when the answer of this step is a conflict, or never will be another.
    undo: list["Step"] = []
    #: It ends here.
    outcome: Outcome | None = None
    #: What people are told then, with ``${expression}`` in it.
    message: str = ""


class Procedure(Struct, frozen=True, forbid_unknown_fields=True):
    """How a lot is told to a target that has to be read first."""

    #: An expression: the target's word for the lot, or word -> quantity where parts of it may differ (``pairs``).
    observed: str
    #: What is sent to make the target agree.
    apply: Annotated[list[Step], Meta(min_length=1)]
    #: Finds what the lot is called there. Reads only.
    locate: list[Step] = []
    #: Reads what the target says of the lot, before and after. Reads only.
    read: list[Step] = []
    #: What is sent when ``locate`` or ``read`` ends with ``missing``.
    register: list[Step] = []
    #: An expression that is true when some of it has left the house.
    left: str | None = None
    #: May a lot of which nothing is there be agreed to? By default somebody has to put it away first.
    empty: Literal["conflict", "ignored"] = "conflict"


def wrong(procedure: Procedure, requests: dict[str, NamedRequest], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Every mistake that the types do not see: where, and what. ``names``: what is known before the first step."""
    check = _Check(requests, names)
    for name, request in requests.items():
        yield from check.named(name, request)
    known: set[str] = set(names)
    for section in SECTIONS:
        # What is read again after must be there whether or not something was registered or applied.
        scope = known if section in ("locate", "read") else set(known)
        yield from check.steps(f"steps.{section}", getattr(procedure, section), scope)
        if section in ("locate", "read"):
            yield from _writes(f"steps.{section}", getattr(procedure, section), requests)
        if section == "read":
            yield from check.expression("steps.observed", procedure.observed, known)
            if procedure.left is not None:
                yield from check.expression("steps.left", procedure.left, known)


def _writes(where: str, steps: Sequence[Step], requests: dict[str, NamedRequest]) -> Iterator[tuple[str, str]]:
    """What cannot be a read: people who only look send it, too. POST may be one."""
    for at, step in sending(where, steps):
        request = requests.get(step.use or "", step)
        if request.method in ("PUT", "PATCH", "DELETE"):
            yield f"{at}.method", f"{request.method} changes something, and locate and read only read"


class _Check:
    """Goes through steps as a delivery does, with names instead of values."""

    def __init__(self, requests: dict[str, NamedRequest], base: frozenset[str]) -> None:
        self._requests = requests
        self._base = base

    def named(self, name: str, request: NamedRequest) -> Iterator[tuple[str, str]]:
        where, known = f"requests.{name}", {*self._base, *request.takes}
        for taken in request.takes:
            yield from self._new(f"{where}.takes", taken)
        yield from self._request(where, request, known)

    def steps(self, where: str, steps: Sequence[Step], known: set[str]) -> Iterator[tuple[str, str]]:
        for index, step in enumerate(steps):
            yield from self._step(f"{where}[{index}]", step, known)

    def _step(self, where: str, step: Step, known: set[str]) -> Iterator[tuple[str, str]]:
        kinds = [n for n in ("path", "use", "each", "outcome") if getattr(step, n) is not None]
        if len(kinds) > 1 or not (kinds or step.let):
            yield where, "a step has one of path, use, each, outcome, or a let"
        if step.when is not None:
            yield from self.expression(f"{where}.when", step.when, known)
        for name, text in step.let.items():
            yield from self.expression(f"{where}.let.{name}", text, known)
            yield from self._new(f"{where}.let.{name}", name)
            known.add(name)
        yield from self._strays(where, step, kinds)
        if step.each is not None:
            yield from self.expression(f"{where}.each", step.each, known)
            yield from self._new(f"{where}.as", step.element)
            yield from self.steps(f"{where}.steps", step.steps, {*known, step.element})
        if step.outcome is not None:
            yield from self._template(f"{where}.message", step.message, known - _HIDDEN)
        if step.path is not None or step.use is not None:
            yield from self._sends(where, step, known)

    def _sends(self, where: str, step: Step, known: set[str]) -> Iterator[tuple[str, str]]:
        if step.use is not None:
            yield from self._uses(where, step, known)
        else:
            yield from self._request(where, step, known)
        yield from wrong_lines(f"{where}.classify", step.classify, frozenset(known - _HIDDEN))
        yield from self.steps(f"{where}.undo", step.undo, set(known))
        for name, text in step.bind.items():
            yield from self.expression(f"{where}.bind.{name}", text, {*known, *NAMES})
            yield from self._new(f"{where}.bind.{name}", name)
        known.update(step.bind)

    def _uses(self, where: str, step: Step, known: set[str]) -> Iterator[tuple[str, str]]:
        request = self._requests.get(step.use or "")
        if request is None:
            yield f"{where}.use", f"there is no request {step.use}; there are {', '.join(self._requests) or 'none'}"
            return
        if set(step.given) != set(request.takes):
            yield f"{where}.with", f"{step.use} takes {', '.join(request.takes) or 'nothing'}"
        # It may be meant for an address: a request names its secrets itself.
        yield from self._template(f"{where}.with", step.given, known - _HIDDEN)

    def _request(self, where: str, request: Step | NamedRequest, known: set[str]) -> Iterator[tuple[str, str]]:
        # Addresses are kept by proxies: no secret may stand in one.
        open_to_all = known - _HIDDEN
        yield from self._template(f"{where}.path", request.path or "", open_to_all)
        yield from self._template(f"{where}.query", request.query, open_to_all)
        yield from self._template(f"{where}.headers", request.headers, known)
        if request.json is not UNSET:
            yield from self._template(f"{where}.json", request.json, known)
        if isinstance(request, NamedRequest):
            yield from wrong_lines(f"{where}.classify", request.classify, frozenset(known - _HIDDEN))

    def _strays(self, where: str, step: Step, kinds: list[str]) -> Iterator[tuple[str, str]]:
        """Keys that belong to another kind of step."""
        sends = "path" in kinds or "use" in kinds
        belong = {
            "steps": "each" in kinds, "given": "use" in kinds, "classify": sends, "bind": sends, "undo": sends,
            "message": "outcome" in kinds, "method": "path" in kinds, "query": "path" in kinds,
            "headers": "path" in kinds,
        }  # fmt: skip
        for name, fits in belong.items():
            if getattr(step, name) and not fits:
                yield where, f"{'with' if name == 'given' else name} is of no use in this step"
        if step.json is not UNSET and "path" not in kinds:
            yield where, "json is of no use in this step"
        if "each" in kinds and not step.steps:
            yield where, "each needs steps"

    def _new(self, where: str, name: str) -> Iterator[tuple[str, str]]:
        if name in self._base or name in NAMES or name in FUNCTIONS:
            yield where, f"{name} is a name already"

    def _template(self, where: str, value: Any, known: set[str]) -> Iterator[tuple[str, str]]:
        try:
            yield from ((where, words) for e in expressions_in(value) for words in e.unknown(frozenset(known)))
        except ValueError as error:
            yield where, str(error)

    def expression(self, where: str, text: str, known: set[str]) -> Iterator[tuple[str, str]]:
        try:
            yield from ((where, words) for words in compiled(text).unknown(frozenset(known - _HIDDEN)))
        except ValueError as error:
            yield where, str(error)


def secrets_in(procedure: Procedure, requests: dict[str, NamedRequest]) -> Iterator[tuple[str, str]]:
    """Every secret that is named, with its place. What is no expression is passed over: ``wrong`` tells of it."""
    for section in SECTIONS:
        for where, step in sending(f"steps.{section}", getattr(procedure, section)):
            yield from ((where, name) for part in (step.headers, step.json) for name in _secrets(part))
    for name, request in requests.items():
        yield from ((f"requests.{name}", found) for part in (request.headers, request.json) for found in _secrets(part))


def names_used(request: Step | NamedRequest) -> frozenset[str]:
    """Names in the headers and the body of a request."""
    parts = (request.headers, None if request.json is UNSET else request.json)
    return frozenset(name for part in parts for inner in expressions_in(part) for name in inner.names)


def sending(where: str, steps: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """Every step that sends something, however deep, with its place."""
    for index, step in enumerate(steps):
        at = f"{where}[{index}]"
        if step.path is not None or step.use is not None:
            yield at, step
        yield from sending(f"{at}.steps", step.steps)
        yield from sending(f"{at}.undo", step.undo)


def _secrets(value: Any) -> Iterator[str]:
    try:
        for expression in expressions_in(value):
            yield from expression.secrets
    except ValueError:
        return

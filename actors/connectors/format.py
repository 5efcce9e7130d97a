"""A connector file: what to send a target, and what its answers mean. Data only, checked when it is loaded.

``${name}`` is replaced by a value of the status, a setting or a secret; a JSON value that is nothing but ``${name}``
keeps the value's type. A name that does not exist, or a stock status without a word, is an error at load, not at
delivery; secrets may stand in headers only. What may not enter: calls.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Meta, Struct

from actors.connectors.answers import AGREED, Meaning, Outcome, Seen, by_http, fitting, said
from actors.connectors.answers import wrong as wrong_lines
from actors.connectors.auth import Auth, Csrf, Login, OAuth2
from actors.connectors.auth import templates as auth_templates
from actors.connectors.auth import wrong as wrong_auth
from actors.connectors.policy import Policy
from actors.connectors.policy import wrong as wrong_policy
from actors.connectors.procedure import Name, NamedRequest, Procedure, secrets_in
from actors.connectors.procedure import wrong as wrong_steps
from actors.connectors.readback import ReadBack, secrets_of, unknown_names
from actors.connectors.readback import wrong as wrong_read_back
from actors.connectors.template import STATUS, Place, fill, flaws, names_in, place_of
from engine.effects import StockStatus
from engine.errors import LotgateError
from engine.routing import Kind, Takes
from engine.settings import Settings

Checked = TypeVar("Checked")
#: Canonical stock statuses; every connector maps each of them.
STOCK = ("quality", "unrestricted", "restricted", "blocked", "issued", "none")


class ConnectorInvalid(LotgateError):
    """A connector file cannot be used; the message says where and why."""

    code = "connector-invalid"
    title = "A connector file cannot be used"


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """One HTTP request, as a template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, Meta(pattern="^/")]
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    #: Lines for this request alone, looked at before those of the file.
    classify: list[Meaning] = []


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """One HTTP request for several deliveries; the answer has one result for each, in order."""

    method: Literal["POST", "PUT", "PATCH"]
    path: Annotated[str, Meta(pattern="^/")]
    #: One element, as a template.
    item: dict[str, Any]
    #: What one result means; a result that no line fits is permanent.
    classify: list[Meaning]
    headers: dict[str, str] = {}
    #: Member of the body that the elements stand in, and of the answer that the results stand in.
    items: str = "items"
    results: str = "results"


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How hard the target may be worked, and for how long."""

    #: Calls at the same time, per worker process.
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    #: One call, from the first byte sent to the last received.
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    #: Deliveries claimed, and put into one batch call, at the most.
    batch: Annotated[int, Meta(ge=1, le=1000)] = 64
    #: Calls per second, per worker process; none: as many as it takes.
    per_second: Annotated[float, Meta(gt=0)] | None = None
    #: A delivery that the target answers with an error of its own this often is given up (dead letter).
    attempts: Annotated[int, Meta(ge=1)] = 50
    #: A delivery is given up this long after its commit, whatever the reason.
    give_up_s: Annotated[float, Meta(gt=0)] = 259_200.0
    #: Steps only: a write that was not answered may still be under way this long; then it is read again.
    settle_s: Annotated[float, Meta(ge=0)] = 15.0


class Rests(Struct, frozen=True, forbid_unknown_fields=True):
    """The circuit breaker: after how many failures in a row the target is given a rest, and how long."""

    failures: Annotated[int, Meta(ge=1)] = 5
    open_s: Annotated[float, Meta(gt=0)] = 2.0
    longest_s: Annotated[float, Meta(gt=0)] = 15.0


class Connector(Struct, frozen=True, forbid_unknown_fields=True):
    """One connector file."""

    connector: Literal[1]
    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    base_url: str
    #: Canonical stock status -> the target's word.
    stock: dict[str, str]
    classify: list[Meaning] = []
    #: http: one request for a status. steps: read, write, read again (actors/connectors/steps.py). tryton: a document
    #: whose template ``deliver`` is (actors/connectors/tryton.py).
    protocol: Literal["http", "steps", "tryton"] = "http"
    #: Needed unless the protocol is steps.
    deliver: Request | None = None
    #: Sent when ``deliver`` is answered with ``missing``; then ``deliver`` is sent again.
    register: Request | None = None
    #: The same two for several lots in one call.
    deliver_batch: Batch | None = None
    register_batch: Batch | None = None
    limits: Limits = Limits()
    breaker: Rests = Rests()
    #: Targets of one kind share the lots between them; none: its name.
    kind: Kind | None = None
    #: Lots that fit one of these; none: every lot.
    takes: tuple[Takes, ...] | None = None
    #: What follows when it does not take a status.
    policy: Policy = Policy()
    #: How it is asked what it says, for reconciliation.
    read_back: ReadBack | None = None
    #: json: a success without a JSON object is some proxy's, not the target's. any: success is success.
    answers: Literal["json", "any"] = "json"
    #: How it knows who calls; none: by the headers of the requests.
    auth: Auth | None = None
    #: A token that every write has to carry.
    csrf: Csrf | None = None
    #: Steps only: what differs from plant to plant, ``constants.NAME`` in expressions.
    constants: dict[Name, Any] = {}
    requests: dict[Name, NamedRequest] = {}
    steps: Procedure | None = None
    #: Values of the secrets that the file names; filled in at load.
    secrets: dict[str, str] = {}

    @property
    def telling(self) -> Request:
        """``deliver``, for protocols that have one."""
        assert self.deliver is not None, "steps have no deliver"
        return self.deliver

    def templates(self) -> Iterator[tuple[str, Request | Batch]]:
        """Every request of the file, with its name."""
        for name in ("deliver", "register", "deliver_batch", "register_batch"):
            request = getattr(self, name)
            if request is not None:
                yield name, request


#: What the template of a document of Tryton has to have.
TRYTON_NEEDS = ("company", "reference", "from_location", "to_location")


def meaning(connector: Connector, lines: Iterable[Meaning], answer: Seen) -> tuple[Outcome, str]:
    """What an answer means, and what people are told: ``lines`` first, then the file's, then what HTTP says.

    A success that is no JSON object (and not 204 or 205, which have no body) is retried, unless the file says
    ``answers: any``; steps take every JSON.
    """
    line = fitting((*lines, *connector.classify), answer)
    outcome = by_http(answer.status) if line is None else line.outcome
    if outcome in AGREED and connector.answers == "json" and answer.status not in (204, 205):
        outcome = outcome if isinstance(answer.body, dict) else "retry"
    return outcome, said(line, answer)


def values(connector: Connector, status: StockStatus, key: str) -> dict[str, Any]:
    """The values that templates of ``connector`` may use for one delivery."""
    found = {name: getattr(status, name) for name in STATUS}
    return found | {"key": key, "target_stock": connector.stock[status.stock]} | connector.secrets


#: What steps may use beside the status: its key, the target's word for it, today's date (UTC), what the file says.
STEP_NAMES = (*STATUS, "key", "target_stock", "today", "constants")


def load(path: Path, settings: Settings) -> Connector:
    """The connector in the file at ``path``. Raises ConnectorInvalid, with file, line, column and every mistake."""
    used: set[str] = set()
    connector = read_checked(path, Connector, lambda found: _wrong(found, settings, used))
    base_url = fill(f"{connector.base_url}", _own(settings)).rstrip("/")
    auth = filled_auth(connector.auth, settings)
    secrets = {f"secret.{name}": settings.secrets[name] for name in used}
    return msgspec.structs.replace(connector, base_url=base_url, auth=auth, secrets=secrets)


def _said(path: Path, node: yaml.Node, where: str, words: str) -> str:
    return f"{path.name}:{place_of(node, where)}: {f'{where}: ' if where else ''}{words}"


def _read(path: Path) -> tuple[Any, yaml.Node]:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            raise ConnectorInvalid(f"{path.name}: the file is empty")
        wrong = [f"{path.name}:{place}: {words}" for place, words in flaws(node)]
        if wrong:
            raise ConnectorInvalid("; ".join(wrong))
        return yaml.safe_load(text), node
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectorInvalid(f"{path.name}: it cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        raise ConnectorInvalid(f"{path.name}:{place}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConnectorInvalid(f"{path.name}: {error}") from None


def _own(settings: Settings) -> dict[str, str]:
    named = {f"url.{name}": url for name, url in settings.urls.items()}
    return named | {f"settings.{name}": str(getattr(settings, name)) for name in ("erp_url", "wms_url")}


def _wrong(connector: Connector, settings: Settings, used: set[str]) -> Iterator[tuple[str, str]]:
    """Every mistake that the types do not see: where, and what. Secrets that are named are put into ``used``."""
    own = _own(settings)
    yield from _unknown("base_url", connector.base_url, own)
    url = urlsplit(fill(connector.base_url, own) if not [*_unknown("", connector.base_url, own)] else "http://-")
    if url.scheme not in ("http", "https") or not url.hostname:
        yield "base_url", f"{connector.base_url!r} is not an http or https address"
    missing = [word for word in STOCK if word not in connector.stock]
    if missing:
        yield "stock", f"has no word for {', '.join(missing)}"
    for word in connector.stock:
        if word not in STOCK:
            yield f"stock.{word}", f"{word} is no stock status; there are {', '.join(STOCK)}"
    if connector.secrets:
        yield "secrets", "secrets are never written here: name them as ${secret.NAME} in headers"
    yield from _wrong_protocol(connector)
    yield from wrong_auth_part(connector.auth, settings, used)
    yield from wrong_lines("classify", connector.classify)
    if connector.steps is not None:
        yield from _wrong_steps(connector, connector.steps, settings, used)
    if connector.register_batch is not None and connector.deliver_batch is None:
        yield "register_batch", "is of no use without deliver_batch"
    yield from wrong_policy(connector.name, connector.policy)
    for where, template, names in wrong_read_back(connector.read_back):
        yield from ((where, words) for words in unknown_names(template, names))
    for where, value in secrets_of(connector.read_back):
        yield from _secrets(where, value, settings, used, {})
    known = dict.fromkeys((*STATUS, "key", "target_stock"))
    for name, request in connector.templates():
        yield from _unknown(f"{name}.path", request.path, known)
        yield from wrong_lines(f"{name}.classify", request.classify)
        body = request.json if isinstance(request, Request) else request.item
        yield from _unknown(f"{name}.{'json' if isinstance(request, Request) else 'item'}", body, known)
        for header, value in request.headers.items():
            allowed = known if isinstance(request, Request) else {}
            yield from _secrets(f"{name}.headers.{header}", value, settings, used, allowed)


def _wrong_protocol(connector: Connector) -> Iterator[tuple[str, str]]:
    """Keys that the protocol needs, or has no use for."""
    by_steps = connector.protocol == "steps"
    needed, useless = ("steps", "deliver register deliver_batch register_batch") if by_steps else ("deliver", "steps")
    if getattr(connector, needed) is None:
        yield "protocol", f"{connector.protocol} needs {needed}"
    for name in (*useless.split(), *(() if by_steps else ("requests", "constants"))):
        if getattr(connector, name):
            yield name, f"is of no use with protocol {connector.protocol}"
    part = connector.read_back
    if part is not None and part.path is None and connector.protocol == "http":
        yield "read_back", "needs a path"
    if part is not None and part.list is not None and connector.protocol != "http":
        yield "read_back.list", f"is of no use with protocol {connector.protocol}: lots are read one by one"
    if connector.protocol == "tryton" and connector.deliver is not None:
        missing = [n for n in TRYTON_NEEDS if n not in (connector.deliver.json or {})]
        if missing:
            yield "deliver.json", f"a document of Tryton needs {', '.join(missing)}"


def filled_auth(auth: Auth | None, settings: Settings) -> Auth | None:
    """``auth`` with the addresses of the settings in it."""
    if not isinstance(auth, OAuth2) or [*_unknown("", auth.token_url, _own(settings))]:
        return auth
    return msgspec.structs.replace(auth, token_url=fill(auth.token_url, _own(settings)))


def wrong_auth_part(auth: Auth | None, settings: Settings, used: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the part ``auth`` of a file; secrets that it names are put into ``used``."""
    if isinstance(auth, OAuth2):
        yield from _unknown("auth.token_url", auth.token_url, _own(settings))
    auth = filled_auth(auth, settings)
    if not isinstance(auth, OAuth2) or "${" not in auth.token_url:
        yield from wrong_auth(auth)
    for where, value in auth_templates(auth):
        token = {"token": None} if where == "auth.value" and isinstance(auth, Login) else {}
        yield from _secrets(where, value, settings, used, token)


def _wrong_steps(
    connector: Connector, steps: Procedure, settings: Settings, used: set[str]
) -> Iterator[tuple[str, str]]:
    login = {"login"} if isinstance(connector.auth, Login) and not connector.auth.header else set[str]()
    yield from wrong_steps(steps, connector.requests, frozenset({*STEP_NAMES, "secret", *login}))
    for where, name in secrets_in(steps, connector.requests):
        yield from _secrets(where, f"${{secret.{name}}}", settings, used, {})


def _secrets(
    where: str, value: str, settings: Settings, used: set[str], known: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What is wrong with a header; secrets that it names are put into ``used``."""
    secrets = {n for n in names_in(value) if n is not None and n.startswith("secret.")}
    for secret in sorted(secrets):
        if secret.removeprefix("secret.") not in settings.secrets:
            variable = f"LOTGATE_SECRET_{secret.removeprefix('secret.').upper()}"
            yield where, f"${{{secret}}} is not set; set {variable} or {variable}_FILE"
        else:
            used.add(secret.removeprefix("secret."))
    yield from _unknown(where, value, {**known, **dict.fromkeys(secrets)})


def _unknown(where: str, template: Any, known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in names_in(template):
        if name is None:
            yield where, "a ${ is not closed"
        elif name not in known:
            yield where, f"${{{name}}} is not known; known: {', '.join(sorted(known)) or 'nothing'}"


def read_checked(path: Path, kind: type[Checked], wrong: Callable[[Checked], Iterable[tuple[str, str]]]) -> Checked:
    """A YAML file of the operator's as a ``kind``; ``wrong`` says where and what the types do not see.

    Raises ConnectorInvalid, with file, line, column and every mistake.
    """
    tree, node = _read(path)
    try:
        found = msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `")
        where = where.rstrip("`").removeprefix("$").removeprefix(".")
        raise ConnectorInvalid(_said(path, node, where, words)) from None
    mistakes = [_said(path, node, where, words) for where, words in wrong(found)]
    if mistakes:
        raise ConnectorInvalid("; ".join(mistakes))
    return found


def wrong_header(where: str, value: str, settings: Settings, used: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a header that may name secrets; those that it names are put into ``used``."""
    yield from _secrets(where, value, settings, used, {})


def own_address(base_url: str, settings: Settings) -> str | None:
    """``base_url`` with the addresses of the settings in it; None: it names one that is not set, or is no address."""
    own = _own(settings)
    if any(name not in own for name in names_in(base_url)):
        return None
    found = str(fill(base_url, own)).rstrip("/")
    url = urlsplit(found)
    return found if url.scheme in ("http", "https") and url.hostname else None

"""A connector file: what to send a target, and what its answers mean. Data only, checked when it is loaded.

``${name}`` is replaced by a value of the status or a setting; a JSON value that is nothing but ``${name}`` keeps the
value's type. A name that does not exist, or a stock status without a mapping, is an error at load, not at delivery.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import yaml
from msgspec import Struct

from engine.effects import StockStatus
from engine.errors import LotgateError
from engine.settings import Settings

#: Canonical stock statuses; every connector maps each of them.
STOCK = ("quality", "unrestricted", "restricted", "blocked", "issued", "none")
_NAME = re.compile(r"\$\{([^}]*)\}")
#: Names of a status that a connector may use, beside ``key``, ``target`` and ``settings.<field>``.
_STATUS = (*StockStatus.__struct_fields__,)


class ConnectorInvalid(LotgateError):
    """A connector file cannot be used; the message says where and why."""

    code = "connector-invalid"
    title = "A connector file cannot be used"


Outcome = Literal["applied", "duplicate", "superseded", "missing", "retry", "throttle", "permanent"]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """One HTTP request, as a template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None


class Meaning(Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer means: the first line that fits counts."""

    status: list[int]
    outcome: Outcome
    #: Members that the JSON body must have, with these values.
    body: dict[str, Any] = {}


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How hard the target may be worked."""

    #: Calls at the same time, per worker process.
    concurrency: int = 4
    timeout_s: float = 10.0
    #: Deliveries claimed at once.
    batch: int = 64


class Connector(Struct, frozen=True, forbid_unknown_fields=True):
    """One connector file."""

    connector: Literal[1]
    name: str
    base_url: str
    #: Canonical stock status -> the target's word.
    stock: dict[str, str]
    deliver: Request
    classify: list[Meaning]
    #: Sent when ``deliver`` is answered with ``missing``; then ``deliver`` is sent again.
    register: Request | None = None
    limits: Limits = Limits()


#: What built-in meanings say of answers that no line of the file fits.
_BUILT_IN = {408: "retry", 423: "retry", 425: "retry", 429: "throttle"}


def meaning(connector: Connector, status: int, body: Any) -> Outcome:
    """What an answer means: the file's lines first, then 2xx applied, 5xx retry, everything else permanent."""
    for line in connector.classify:
        if status in line.status and all(isinstance(body, dict) and body.get(k) == v for k, v in line.body.items()):
            return line.outcome
    if 200 <= status < 300:
        return "applied"
    if status in _BUILT_IN:
        return "throttle" if status == 429 else "retry"
    return "retry" if status >= 500 else "permanent"


def values(connector: Connector, status: StockStatus, key: str) -> dict[str, Any]:
    """The values that templates of ``connector`` may use for one delivery."""
    found = {name: getattr(status, name) for name in _STATUS}
    return found | {"key": key, "target_stock": connector.stock[status.stock]}


def fill(template: Any, known: Mapping[str, Any], escape: bool = False) -> Any:
    """``template`` with every ``${name}`` replaced; ``escape`` percent-encodes for a path."""
    if isinstance(template, dict):
        return {name: fill(inner, known) for name, inner in template.items()}
    if isinstance(template, list):
        return [fill(inner, known) for inner in template]
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    if whole is not None and not escape:
        return known[whole[1].strip()]

    def text(match: re.Match[str]) -> str:
        value = str(known[match[1].strip()])
        return quote(value, safe="") if escape else value

    return _NAME.sub(text, template)


def load(path: Path, settings: Settings) -> Connector:
    """The connector in the file at ``path``. Raises ConnectorInvalid."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        connector = msgspec.convert(tree, Connector)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConnectorInvalid(f"{path.name}: {error}") from None
    missing = [word for word in STOCK if word not in connector.stock]
    if missing:
        raise ConnectorInvalid(f"{path.name}: stock: has no word for {', '.join(missing)}")
    known = {*_STATUS, "key", "target_stock"}
    for request in (connector.deliver, connector.register):
        if request is not None:
            _check(path.name, [request.path, request.headers, request.json], known)
    own = {f"settings.{name}": str(getattr(settings, name)) for name in ("erp_url", "wms_url")}
    _check(path.name, connector.base_url, set(own))
    return msgspec.structs.replace(connector, base_url=fill(f"{connector.base_url}", own).rstrip("/"))


def _check(name: str, template: Any, known: set[str]) -> None:
    if isinstance(template, dict):
        template = list(template.values())
    if isinstance(template, list):
        for inner in template:
            _check(name, inner, known)
    elif isinstance(template, str):
        for found in _NAME.finditer(template):
            if found[1].strip() not in known:
                raise ConnectorInvalid(f"{name}: ${{{found[1]}}} is not known; known: {', '.join(sorted(known))}")
        if "${" in _NAME.sub("", template):
            raise ConnectorInvalid(f"{name}: {template!r} has a ${{ that is not closed")

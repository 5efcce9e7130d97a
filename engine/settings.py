"""Every setting, read once from the environment (and an optional TOML file) into one frozen Struct.

The only module that reads the environment. A variable is ``LOTGATE_<FIELD>``; ``LOTGATE_<FIELD>_FILE`` names a file
that holds a secret; ``LOTGATE_CONFIG`` names a TOML file whose keys are the fields. The environment wins.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from engine.errors import SettingInvalid

PREFIX = "LOTGATE_"
#: The rule packs that come with Lotgate.
SHIPPED_RULES = Path(__file__).resolve().parent.parent / "rules" / "packs"
#: The connector files that come with Lotgate.
SHIPPED_CONNECTORS = Path(__file__).resolve().parent.parent / "actors" / "connectors"
#: Name of the file in LOTGATE_HOME that holds the first administrator's key.
ADMIN_KEY_FILE = "admin.key"
#: ``LOTGATE_SECRET_<NAME>`` is the secret that connector files call ``${secret.<name>}``.
SECRET_PREFIX = PREFIX + "SECRET_"
#: ``LOTGATE_URL_<NAME>`` is the address that connector files call ``${url.<name>}``.
URL_PREFIX = PREFIX + "URL_"
_TARGET = re.compile("[a-z][a-z0-9_]*")
#: Lots stay for so long after their last entry: business numbers look back 30 days (engine/kpi.py).
ARCHIVE_LEAST_DAYS = 31
#: Fields that may hold a secret: read from a file with ``_FILE``, and never shown.
SECRETS = (
    "database_url", "redis_url", "api_key", "smtp_url", "notify_webhook", "notify_webhook_secret", "webhook_key",
    "oidc_client_secret", "signing_key",
)  # fmt: skip


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """How this installation runs."""

    #: Directory for everything that Lotgate writes: database, embedded Redis, administrator's key.
    home: Path = Path("var")
    #: Empty: SQLite in ``home``; else ``postgresql://user:password@host/database``.
    database_url: str = ""
    #: Empty: a Redis that ``lotgate up`` starts in ``home``; ``none``: actors run as threads of the web process.
    redis_url: str = ""
    #: Directory of rule files: what people edit; the first start puts it in force, later it is staged and approved.
    rules: Path = SHIPPED_RULES
    #: Who approves a rule set: ``other-person`` than its author, or ``one-person`` for plants where one does both.
    rules_approval: Literal["other-person", "one-person"] = "other-person"
    #: Directory of connector files, one a target.
    connectors: Path = SHIPPED_CONNECTORS
    #: Directory of inbound files: what is taken from folders and fetched from systems; empty: nothing.
    inbound: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    #: The systems that are told, with commas between; each has a connector file of its name.
    targets: str = "erp, wms"
    #: Where the targets' connector files find their systems. Not set: the sandbox systems, on the next two ports.
    erp_url: str = "http://127.0.0.1:8001"
    wms_url: str = "http://127.0.0.1:8002"
    #: Rule engines that judge: ``both`` (reference and durable-rules) or ``reference`` alone.
    channel: Literal["both", "reference"] = "both"
    #: Time zone of the plant: decides which calendar day it is.
    timezone: str = "UTC"
    #: Events that may wait for the database; beyond that senders are told to come back. Holds have room beside them.
    max_waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    #: Requests and events a second that one principal may send to one web process, and how many at once; 0: any.
    rate_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    rate_burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    #: Threads of one worker process.
    worker_threads: Annotated[int, Meta(ge=1, le=64)] = 4
    #: Networks that are not public and may yet be called at addresses somebody typed: ``10.20.0.0/16, 10.0.0.5/32``.
    outbound_allow: str = ""
    #: Who owns reference data: ``order=erp, order.status=credit, allocation=wms``; only keys of that name change it.
    record_owners: str = ""
    #: What ERP and WMS said of an order is too old after this long (0: never), and what that means for its readiness.
    stale_after_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 86_400.0
    stale_facts: Literal["accept", "unknown", "not_ready"] = "unknown"
    #: The systems that are told whether orders may leave; each has a connector file of its name.
    signal_targets: str = ""
    #: Who gets e-mail about open tasks: addresses with commas between; empty: nobody.
    notify_email: str = ""
    #: Mail server: ``smtps://user:password@host:465``, ``smtp://host:25`` (STARTTLS where it is offered).
    smtp_url: str = ""
    #: Sender of e-mail; empty: ``lotgate@`` the mail server.
    smtp_from: str = ""
    #: Address that is called about open tasks, and the secret that signs the calls (``whsec_…``); empty: none.
    notify_webhook: str = ""
    notify_webhook_secret: str = ""
    #: What the secrets of webhook subscriptions are derived from; empty: a file in ``home`` (SQLite only).
    webhook_key: str = ""
    #: Ed25519 key (PEM, PKCS #8) that signs checkpoints of journals; empty: a file in ``home``, made at the first run.
    signing_key: str = ""
    #: A checkpoint of the whole journal is signed as often, where something is new; 0: only when somebody asks.
    checkpoint_hours: Annotated[float, Meta(ge=0, le=8_760)] = 24.0
    #: Directory that a copy of each is written to, for somebody else to keep; empty: none.
    checkpoint_dir: str = ""
    #: Directory of the archive (engine/archive.py); empty: ``archive`` in ``home``. The same for every host.
    archive: str = ""
    #: The clock archives lots that were closed for so many days; 0: nobody but people do.
    archive_after_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    #: A task that nobody has acknowledged is told again after this long.
    notify_repeat_s: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    #: OpenID Connect provider whose tokens are accepted, as it calls itself; empty: API keys only.
    oidc_issuer: str = ""
    #: Audience that bearer tokens must be made for; empty: none is accepted.
    oidc_audience: str = ""
    #: What the provider calls the console, and their shared secret if there is one; empty: nobody signs in with it.
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    #: Who may what: ``value = role, role @ plant, plant; …`` by the values of a claim.
    oidc_grants: str = ""
    #: The claim that holds these values, and the one that names the principal and never changes.
    oidc_claim: str = "groups"
    oidc_name: str = "sub"
    #: Where people's browsers reach Lotgate, such as ``https://lotgate.example``; empty: the address it listens on.
    public_url: str = ""
    #: Where traces are sent by OTLP over HTTP, such as ``http://127.0.0.1:4318``; empty: nothing is traced.
    otlp_endpoint: str = ""
    #: Decisions, deliveries and reads that take as many milliseconds are logged; 0: none are.
    slow_ms: Annotated[float, Meta(ge=0, le=3_600_000)] = 1_000.0
    #: How logs are written: text for people, json for what collects them.
    log_format: Literal["text", "json"] = "text"
    #: Key that the command line sends; empty: the administrator's in ``home``.
    api_key: str = ""
    #: Secrets that connector files name, by their name in lower case.
    secrets: dict[str, str] = {}
    #: Addresses that connector files name, by their name in lower case.
    urls: dict[str, str] = {}

    @property
    def target_names(self) -> tuple[str, ...]:
        """The systems that are told, in order."""
        return tuple(name.strip() for name in self.targets.split(","))

    @property
    def signal_names(self) -> tuple[str, ...]:
        """The systems that are told of orders, in order."""
        return tuple(name.strip() for name in self.signal_targets.split(",") if name.strip())

    @property
    def told_names(self) -> tuple[str, ...]:
        """Every system that is told something: of lots, then of orders."""
        return (*self.target_names, *self.signal_names)

    @property
    def archive_folder(self) -> Path:
        """Where the segments of the archive are."""
        return Path(self.archive) if self.archive else self.home / "archive"

    @property
    def base_url(self) -> str:
        """Where the service answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def browser_url(self) -> str:
        """Where browsers reach the service, without a slash at the end."""
        return (self.public_url or self.base_url).rstrip("/")


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from ``environment``. Raises SettingInvalid, naming variable, value and expected form."""
    settings = _convert(_values(environment))
    _check_targets(settings)
    if 0 < settings.archive_after_days < ARCHIVE_LEAST_DAYS:
        raise SettingInvalid(
            f"LOTGATE_ARCHIVE_AFTER_DAYS is {settings.archive_after_days}; expected 0 (nothing goes by itself) or at"
            f" least {ARCHIVE_LEAST_DAYS}, for business numbers look back so far."
        )
    _check_address("PUBLIC_URL", settings.public_url)
    _check_address("OTLP_ENDPOINT", settings.otlp_endpoint)
    settings = msgspec.structs.replace(settings, otlp_endpoint=_otlp(settings.otlp_endpoint, environment))
    nowhere = sandboxed(environment)
    urls = {f"{name}_url": f"http://127.0.0.1:{settings.port + n}" for n, name in enumerate(("erp", "wms"), 1)}
    settings = msgspec.structs.replace(settings, **{f: url for f, url in urls.items() if f[:-4] in nowhere})
    try:
        ZoneInfo(settings.timezone)
    except (KeyError, ValueError, OSError):
        raise SettingInvalid(
            f"LOTGATE_TIMEZONE is {settings.timezone!r}; expected a time zone such as Europe/Berlin."
        ) from None
    return settings


def sandboxed(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Targets that sandbox systems stand in for, because no setting says where the real ones are."""
    values = _values(environment)
    names = _convert(values).target_names
    return tuple(name for name in ("erp", "wms") if name in names and f"{name}_url" not in values)


def _values(environment: Mapping[str, str]) -> dict[str, Any]:
    """What is set, by field, as text."""
    values = _from_file(environment.get(PREFIX + "CONFIG"))
    for name in Settings.__struct_fields__:
        variable = PREFIX + name.upper()
        if variable in environment:
            values[name] = environment[variable]
        elif name in SECRETS and variable + "_FILE" in environment:
            values[name] = _secret(variable, environment[variable + "_FILE"])
    named = {"secrets": _named_secrets(environment), "urls": _named(environment, URL_PREFIX)}
    for name, found in named.items():
        if found:
            values[name] = {**values.get(name, {}), **found}
    return values


def _otlp(endpoint: str, environment: Mapping[str, str]) -> str:
    """Where traces go: our setting, else what OpenTelemetry's own variables say.

    Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    exact = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    if exact and not endpoint:
        return exact
    base = endpoint or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return f"{base.rstrip('/')}/v1/traces" if base and not base.endswith("/v1/traces") else base


def _check_address(name: str, url: str) -> None:
    """Browsers are sent to the public one, and whether cookies are for https alone follows from it."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        good = False
    if url and not good:
        raise SettingInvalid(f"LOTGATE_{name} is {url!r}; expected an address such as https://lotgate.example.")


def _check_targets(settings: Settings) -> None:
    names = settings.told_names
    orders = f" and LOTGATE_SIGNAL_TARGETS {settings.signal_targets!r}" if settings.signal_targets else ""
    if set(settings.signal_names) & set(settings.target_names):
        raise SettingInvalid(
            f"LOTGATE_SIGNAL_TARGETS is {settings.signal_targets!r}; a system that is told of orders has a name, and a"
            " connector file, beside the one that is told of lots, such as wms_orders."
        )
    if not all(_TARGET.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise SettingInvalid(
            f"LOTGATE_TARGETS is {settings.targets!r}{orders}; expected different names of small letters, digits and"
            " _, with commas between, such as erp, wms."
        )


def as_json(settings: Settings) -> bytes:
    """Every setting, secrets and all: for a process of our own, over a private socket."""
    return msgspec.json.encode(settings, enc_hook=str)


def settings_from(text: bytes) -> Settings:
    """What :func:`as_json` gave, as settings again."""
    return msgspec.json.decode(text, type=Settings, dec_hook=_path)


def shown(settings: Settings) -> dict[str, str]:
    """Every setting as text, secrets masked."""
    values = {name: str(getattr(settings, name)) for name in settings.__struct_fields__}
    for name in SECRETS:
        values[name] = _masked(values[name])
    values["secrets"] = ", ".join(f"{name}=***" for name in sorted(settings.secrets))
    values["urls"] = ", ".join(f"{name}={_masked(url)}" for name, url in sorted(settings.urls.items()))
    return values


def _masked(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme and parts.password is not None:
        host = parts.netloc.rsplit("@", 1)[-1]
        return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
    return value if not value or parts.scheme or value == "none" else "***"


def _from_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingInvalid(f"LOTGATE_CONFIG is {path!r}, which cannot be read: {error.strerror}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingInvalid(f"LOTGATE_CONFIG is {path!r}, which is not TOML: {error}.") from None


def _secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingInvalid(f"{variable}_FILE is {path!r}, which cannot be read: {error.strerror}.") from None


def _named_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Every ``LOTGATE_SECRET_<NAME>``, and every ``LOTGATE_SECRET_<NAME>_FILE`` where the first is not set."""
    found: dict[str, str] = {}
    for variable, value in environment.items():
        name = variable.removeprefix(SECRET_PREFIX)
        if name == variable:
            continue
        if not name.endswith("_FILE"):
            found[name.lower()] = value
        elif variable.removesuffix("_FILE") not in environment:
            found[name.removesuffix("_FILE").lower()] = _secret(variable.removesuffix("_FILE"), value)
    return found


def _named(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Every variable that begins with ``prefix``, by the rest of its name in lower case."""
    return {v.removeprefix(prefix).lower(): value for v, value in environment.items() if v.startswith(prefix)}


def _convert(values: dict[str, Any]) -> Settings:
    for name, value in values.items():
        if name not in Settings.__struct_fields__:
            raise SettingInvalid(f"There is no setting {name!r}; see `lotgate config show` for those there are.")
        field = next(f for f in msgspec.structs.fields(Settings) if f.name == name)
        try:
            values[name] = msgspec.convert(value, field.type, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            shown_value = "***" if name in (*SECRETS, "secrets") else repr(value)
            raise SettingInvalid(f"{PREFIX}{name.upper()} is {shown_value}: {error}.") from None
    return Settings(**values)


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise TypeError(f"no setting has the type {kind}")

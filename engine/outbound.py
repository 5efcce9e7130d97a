"""Calls that leave this machine for an address somebody typed: where they may go.

A URL that a person or another system chose (a webhook, an alarm's address) could name this machine, its
neighbours, or the address at which a cloud tells its machines' passwords. So the *addresses* are judged, after the
name has been resolved, all of them, and the connection goes to an address that was judged: a name that resolves
differently a moment later, a number in hexadecimal or an IPv4 address dressed as IPv6 gains nothing. Everything
that is not a public address is refused, unless the operator has named its network (``LOTGATE_OUTBOUND_ALLOW``).
Redirects are the caller's: whoever follows one asks again. What may not enter: what is sent, and to whom it matters.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from engine.errors import LotgateError, SettingInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Name and port -> every address it has, as text; raises OSError.
Resolve = Callable[[str, int], Sequence[str]]

MAX_URL_CHARACTERS = 2000
_PORTS = {"http": 80, "https": 443}
#: What urlsplit would quietly drop or read in its own way.
_UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029]")
#: IPv6 that carries an IPv4 address inside (NAT64, 6to4, Teredo, compatible), and site-local: counted as public
#: by some Pythons, though what they lead to need not be.
_DISGUISES: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10", "::/96", "192.88.99.0/24")
)


class OutboundRefused(LotgateError):
    """The address may not be called from here; the message says which, why, and which setting would allow it."""

    code = "outbound-refused"
    title = "This address may not be called from here"
    status = 422


class Destination(Struct, frozen=True):
    """A URL taken apart. ``path`` has the query with it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def base_url(self) -> str:
        """Scheme, host and port: what a connection is made to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Guard:
    """Says where a call may go, and makes the connection. Thread-safe: it keeps nothing."""

    def __init__(self, allowed: Sequence[Network] = (), resolve: Resolve | None = None) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve or _addresses

    @classmethod
    def of(cls, text: str) -> "Guard":
        """A guard from a setting: networks in CIDR notation, separated by commas. Raises SettingInvalid."""
        found: list[Network] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                found.append(ipaddress.ip_network(part))
            except ValueError as error:
                raise SettingInvalid(
                    f"LOTGATE_OUTBOUND_ALLOW has {part!r} ({error}); "
                    "expected networks such as 10.20.0.0/16, 192.168.7.5/32."
                ) from None
        return cls(found)

    def check(self, url: str) -> Destination:
        """Take ``url`` apart and judge every address of its host. Raises OutboundRefused.

        For the moment at which somebody types it: :meth:`connect` judges again, whatever was found here. A name
        that does not resolve now is accepted; it may later.
        """
        found = destination(url)
        try:
            addresses = self._resolve(found.host, found.port)
        except (OSError, UnicodeError):
            return found
        for text in addresses:
            self._judge(text, found.host)
        return found

    def connect(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """A connection to ``host``, at an address that was judged. Raises OutboundRefused, or OSError.

        Resolving has the time-outs of the system's resolver; ``timeout_seconds`` is for each attempt to connect.
        """
        try:
            addresses = list(self._resolve(host, port))
        except UnicodeError:
            raise OutboundRefused(f"{host!r} is no name of a host.") from None
        # All are judged before any is called: a name with one bad address is not to be trusted with the good ones.
        judged = [self._judge(text, host) for text in addresses]
        problem: OSError = OSError(f"{host} has no address")
        for address in judged:
            try:
                return socket.create_connection((str(address), port), timeout_seconds)
            except OSError as error:
                problem = error
        raise problem

    def _judge(self, text: str, host: str) -> Address:
        address = ipaddress.ip_address(text.partition("%")[0])
        plain = getattr(address, "ipv4_mapped", None) or address
        if plain.is_multicast or plain.is_unspecified or (plain.version == 4 and int(plain) >> 24 == 0):
            raise OutboundRefused(f"{host} is at {text}, which is no single machine; it is never called.")
        if any(plain in network for network in self._allowed if network.version == plain.version):
            return address
        disguised = any(plain in network for network in _DISGUISES if network.version == plain.version)
        if not plain.is_global or disguised:
            raise OutboundRefused(
                f"{host} is at {text}, which is not a public address. If it is meant, name its network in "
                "LOTGATE_OUTBOUND_ALLOW."
            )
        return address


def destination(url: str) -> Destination:
    """``url`` taken apart, for http and https only; raises OutboundRefused for anything that could be misread."""
    if len(url) > MAX_URL_CHARACTERS or _UNFIT.search(url):
        raise OutboundRefused(
            f"An address has at most {MAX_URL_CHARACTERS} characters and no spaces, control characters or backslashes."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OutboundRefused(f"{_shown(url)} is no address: {error}.") from None
    if parts.scheme not in _PORTS:
        raise OutboundRefused(f"{_shown(url)} is no http or https address.")
    if parts.username is not None or parts.password is not None:
        raise OutboundRefused("An address must not carry a user name or password.")
    if not parts.hostname or port == 0 or "%" in parts.netloc:
        raise OutboundRefused(f"{_shown(url)} names no host that can be called.")
    if parts.fragment:
        raise OutboundRefused(f"{_shown(url)} has a part behind #, which is never sent.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise OutboundRefused("The path of an address must be percent-encoded.")
    return Destination(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def _shown(url: str) -> str:
    # Not the query: addresses that people paste have tokens in it.
    return repr(url.partition("?")[0][:200])


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))

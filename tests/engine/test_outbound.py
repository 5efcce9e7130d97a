"""Calls at addresses that somebody typed: they reach public machines, named networks, and nothing else."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from actors.connectors.client import Client, NoAnswer
from engine.errors import SettingInvalid
from engine.outbound import Guard, OutboundRefused, destination

PUBLIC = "93.184.216.34"


class Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.headers["host"])  # type: ignore[attr-defined]
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("location", "http://169.254.169.254/latest/meta-data")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def neighbour() -> Iterator[ThreadingHTTPServer]:
    """Something that listens on this machine and must not be reached."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.9.9.9", "localhost", "[::1]", "0.0.0.0", "0", "[::]", "2130706433", "0x7f.1", "0177.0.0.1",
        "127.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]", "[2001:0:1::1]", "[fec0::1]", "[fe80::1]", "[fd00::1]", "[fc00::1]", "169.254.169.254",
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1", "203.0.113.9", "240.0.0.1",
        "255.255.255.255", "224.0.0.1", "[ff02::1]", "192.88.99.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "LOCALHOST",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_machine_that_is_not_public_gets_through(host: str) -> None:
    guard = Guard()
    with pytest.raises(OutboundRefused):
        guard.check(f"http://{host}/hook")
    with pytest.raises((OutboundRefused, OSError)):
        guard.connect(destination(f"http://{host}/hook").host, 80, 0.2)


def test_every_address_of_a_name_is_judged() -> None:
    guard = Guard(resolve=lambda host, port: [PUBLIC, "10.0.0.1"])
    with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
        guard.check("https://partner.example/hook")
    with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
        guard.connect("partner.example", 443, 0.2)


def test_a_name_that_resolves_differently_later_is_judged_again(neighbour: ThreadingHTTPServer) -> None:
    found = iter([[PUBLIC], ["127.0.0.1"]])
    guard = Guard(resolve=lambda host, port: next(found))
    url = guard.check(f"http://partner.example:{neighbour.server_port}/hook")
    with pytest.raises(NoAnswer) as refused:
        Client(url.base_url, 1, guard).call("POST", url.path, {}, b"{}")
    assert refused.value.failure == "refused"
    assert neighbour.asked == []  # type: ignore[attr-defined]


def test_the_connection_goes_to_the_address_that_was_judged(neighbour: ThreadingHTTPServer) -> None:
    """One resolution a connection: there is no moment between judging and connecting."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    guard = Guard(Guard.of("127.0.0.0/8")._allowed, resolve)
    client = Client(f"http://partner.example:{neighbour.server_port}", 2, guard)
    assert client.call("POST", "/hook", {}, b"{}").status == 200
    client.close()
    assert asked == ["partner.example"]
    assert neighbour.asked == [f"partner.example:{neighbour.server_port}"]  # type: ignore[attr-defined]


def test_a_redirect_is_an_answer_and_not_followed(neighbour: ThreadingHTTPServer) -> None:
    client = Client(f"http://127.0.0.1:{neighbour.server_port}", 2, Guard.of("127.0.0.1"))
    assert client.call("POST", "/away", {}, b"{}").status == 302
    client.close()


def test_the_certificate_is_checked_against_the_name(neighbour: ThreadingHTTPServer) -> None:
    """The other side speaks no TLS at all: what matters is that the call ends and says why."""
    client = Client(f"https://localhost:{neighbour.server_port}", 2, Guard.of("127.0.0.0/8, ::1"))
    assert client._tls is not None
    assert client._tls.verify_mode is ssl.CERT_REQUIRED
    assert client._tls.check_hostname
    with pytest.raises(NoAnswer) as none:
        client.call("POST", "/hook", {}, b"{}")
    assert none.value.failure == "unreachable"


@pytest.mark.parametrize("host", ["10.20.3.4", "[fd00:20::1]", "[::ffff:10.20.3.4]"])
def test_a_network_that_the_operator_named_may_be_called(host: str) -> None:
    guard = Guard.of("10.20.0.0/16, fd00:20::/32")
    assert guard.check(f"http://{host}:8080/hook?a=1").path == "/hook?a=1"
    with pytest.raises(OutboundRefused):
        guard.check("http://10.21.0.1/hook")


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "[::]", "[ff02::1]"])
def test_no_setting_opens_what_is_no_machine(host: str) -> None:
    with pytest.raises(OutboundRefused):
        Guard.of("0.0.0.0/0, ::/0").check(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "//a.example/", "file:///etc/passwd", "gopher://a.example/", "ftp://a.example/", "http://",
        "http:///x", "http://a.example:0/", "http://a.example:99999/", "http://a.example:x/", "http://[::1/",
        "http://user:secret@a.example/", "http://@a.example/", "http://a.example\\@b.example/", "http://a.example/ b",
        "http://a.example/\r\nX-Evil: 1", "http://a.example/\tb", "java\nscript:alert(1)", "http://a.example/#f",
        "http://a%2eexample/", "http://a.example/ü", "http://a.example/" + "a" * 2000, "http://\u2028a.example/",
        "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_an_address_that_could_be_misread_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        destination(url)


def test_what_is_refused_is_shown_without_what_may_be_secret() -> None:
    for url in ("ftp://a.example/?token=hunter2", "http://user:hunter2@a.example/", "http://a.example:x/?k=hunter2"):
        with pytest.raises(OutboundRefused) as refused:
            destination(url)
        assert "hunter2" not in refused.value.detail


def test_a_setting_that_is_no_network_is_named() -> None:
    with pytest.raises(SettingInvalid, match=r"LOTGATE_OUTBOUND_ALLOW has '10\.0\.0\.1/8'"):
        Guard.of("127.0.0.1, 10.0.0.1/8")

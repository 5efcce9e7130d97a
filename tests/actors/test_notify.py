"""People are told of tasks: by e-mail over real SMTP, by a real webhook; again until somebody acknowledges."""

import email
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from actors.notify import Teller, channels
from engine.clock import system_clock
from engine.errors import SettingInvalid
from engine.notices import TOGETHER_SECONDS, Notices
from engine.settings import load_settings
from engine.tasks import Tasks

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ggZm9yIHRoaXM="


class Mailbox:
    """What a mail server took, and what it says instead of taking it."""

    def __init__(self) -> None:
        self.mail: list[tuple[list[str], Message]] = []
        self.says = "250 taken"
        self.nobody = ""

    async def handle_RCPT(self, _: SMTP, _s: Session, envelope: Envelope, to: str, _o: list[str]) -> str:  # noqa: N802
        if to == self.nobody:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(to)
        return "250 ok"

    async def handle_DATA(self, _: SMTP, _s: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.says.startswith("250"):
            self.mail.append((envelope.rcpt_tos, email.message_from_bytes(bytes(envelope.content or b""))))
        return self.says


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(system_clock().timestamp() + self.ahead, system_clock().tzinfo)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, port
    server.stop()


Make = Callable[..., Teller]


@pytest.fixture
def teller(store: Any, clock: Clock) -> Make:
    def make(repeat_seconds: float = 3600.0, **environment: Any) -> Teller:
        settings = load_settings({f"LOTGATE_{name.upper()}": str(value) for name, value in environment.items()})
        return Teller(Tasks(store, clock), Notices(store, clock), channels(settings, clock), repeat_seconds)

    return make


def mailing(port: int, to: str = "quality@plant.example") -> dict[str, str]:
    return {"notify_email": to, "smtp_url": f"smtp://127.0.0.1:{port}", "smtp_from": "Lotgate <lotgate@plant.example>"}


def go() -> bool:
    return False


def test_a_task_is_mailed_once_and_again_until_it_is_acknowledged(
    mailbox: tuple[Mailbox, int], teller: Make, clock: Clock
) -> None:
    box, port = mailbox
    one = teller(**mailing(port, "quality@plant.example, shift@plant.example"))
    one.tasks.open_once("delivery-dead", "LOT-1", "erp does not take version 3 of lot LOT-1", "erp")
    assert one.round(go) == 1
    assert one.round(go) == 0
    [(recipients, message)] = box.mail
    assert recipients == ["quality@plant.example", "shift@plant.example"]
    assert message["Subject"] == "Lotgate: delivery-dead: LOT-1"
    assert "erp does not take version 3" in str(message.get_payload())
    assert "lotgate tasks acknowledge 1" in str(message.get_payload())
    clock.ahead += 3601
    assert one.round(go) == 1
    assert box.mail[-1][1]["Subject"].endswith("(told 2 times)")
    assert box.mail[-1][1]["Message-ID"] != message["Message-ID"]
    one.tasks.acknowledge(1, "pat")
    clock.ahead += 36_000
    assert one.round(go) == 0


def test_a_night_of_failures_is_one_message(mailbox: tuple[Mailbox, int], teller: Make, clock: Clock) -> None:
    box, port = mailbox
    one = teller(**mailing(port))
    for n in range(200):
        one.tasks.open_once("delivery-dead", f"LOT-{n}", "no", "erp")
    assert one.round(go) == 1
    assert box.mail[0][1]["Subject"] == "Lotgate: delivery-dead: LOT-0, and 199 more"
    assert "… and 150 more" in str(box.mail[0][1].get_payload(decode=True), "utf-8")
    one.tasks.open_once("deliveries-late", "erp", "late")
    assert one.round(go) == 0, "right after a message, what comes is collected"
    clock.ahead += TOGETHER_SECONDS
    assert one.round(go) == 1


def test_a_mail_server_that_is_away_or_refuses_loses_nothing(
    mailbox: tuple[Mailbox, int], teller: Make, clock: Clock
) -> None:
    box, port = mailbox
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = probe.getsockname()[1]
    one = teller(**mailing(away))
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    assert one.round(go) == 0
    assert "did not take it" in str(one.notices.waiting()["email"][1])
    box.says = "451 try later"
    clock.ahead += 10
    one = teller(**mailing(port))
    assert one.round(go) == 0
    assert "451" in str(one.notices.waiting()["email"][1])
    one.tasks.open_once("delivery-dead", "LOT-2", "no", "erp")
    box.says = "250 taken"
    clock.ahead += 1000
    assert one.round(go) == 1
    assert box.mail[0][1]["Subject"] == "Lotgate: delivery-dead: LOT-1, and 1 more"
    assert one.notices.waiting() == {}


def test_what_was_acknowledged_before_it_was_sent_is_not_sent(
    mailbox: tuple[Mailbox, int], teller: Make, clock: Clock
) -> None:
    box, port = mailbox
    box.says = "451 try later"
    one = teller(**mailing(port))
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    one.round(go)
    one.tasks.close(1, "pat", "seen on the screen")
    box.says, clock.ahead = "250 taken", 1000
    assert one.round(go) == 0
    assert (box.mail, one.notices.waiting()) == ([], {})


def test_one_recipient_nobody_knows_keeps_it_from_nobody_else(mailbox: tuple[Mailbox, int], teller: Make) -> None:
    box, port = mailbox
    box.nobody = "gone@plant.example"
    one = teller(**mailing(port, "gone@plant.example, quality@plant.example"))
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    assert one.round(go) == 1
    assert box.mail[0][0] == ["quality@plant.example"]


def test_a_lot_id_cannot_write_headers(mailbox: tuple[Mailbox, int], teller: Make) -> None:
    box, port = mailbox
    one = teller(**mailing(port))
    one.tasks.open_once("delivery-dead", "L\r\nBcc: thief@example", "no", "erp")
    assert one.round(go) == 1
    assert box.mail[0][1]["Bcc"] is None
    assert box.mail[0][0] == ["quality@plant.example"]


def test_a_password_is_never_sent_without_tls(mailbox: tuple[Mailbox, int], teller: Make) -> None:
    _, port = mailbox
    settings = mailing(port) | {"smtp_url": f"smtp://lotgate:secret@127.0.0.1:{port}"}
    one = teller(**settings)
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    assert one.round(go) == 0
    assert "no STARTTLS" in str(one.notices.waiting()["email"][1])


def test_a_webhook_is_signed_as_the_standard_asks(talker: Any, teller: Make) -> None:
    one = teller(notify_webhook=f"{talker.url}/alarm?key=1", notify_webhook_secret=SECRET)
    one.tasks.open_once("delivery-dead", "LÖT", "no", "erp")
    talker.say(503)
    assert one.round(go) == 0
    talker.say(204)
    one.notices._clock.ahead = 20  # type: ignore[attr-defined]
    assert one.round(go) == 1
    first, second = (headers for _, headers, _ in talker.heard)
    assert first["webhook-id"] == second["webhook-id"] == "notice_1"
    line, headers, said = talker.heard[0]
    assert line == "POST /alarm?key=1"
    assert said["type"] == "lotgate.tasks.v1"
    assert [task["subject"] for task in said["data"]["tasks"]] == ["LÖT"]
    body = talker.bodies[0]
    assert Webhook(SECRET).verify(body, headers) == said
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("LÖT".encode(), b"LOT"), headers)


def test_both_ways_are_independent(talker: Any, mailbox: tuple[Mailbox, int], teller: Make) -> None:
    box, port = mailbox
    one = teller(**mailing(port), notify_webhook=talker.url)
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    assert one.round(go) == 1, "the webhook answers 500"
    assert len(box.mail) == 1
    assert set(one.notices.waiting()) == {"webhook"}


def test_two_clocks_send_one_message(mailbox: tuple[Mailbox, int], teller: Make) -> None:
    box, port = mailbox
    one, other = teller(**mailing(port)), teller(**mailing(port))
    one.tasks.open_once("delivery-dead", "LOT-1", "no", "erp")
    one.notices.plan(["email"], 3600)
    taken = one.notices.take(["email"], 60)
    assert taken is not None
    assert other.round(go) == 0
    one.notices.sent(taken)
    assert (other.round(go), box.mail) == (0, [])


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"notify_email": "a@b.example"}, "set LOTGATE_SMTP_URL too"),
        ({"notify_email": "nobody", "smtp_url": "smtp://mail"}, "'nobody' is no e-mail address"),
        ({"notify_email": "a@b.example", "smtp_url": "mail:25"}, "LOTGATE_SMTP_URL is not like"),
        ({"notify_webhook": "ftp://alarm"}, "LOTGATE_NOTIFY_WEBHOOK: "),
        ({"notify_webhook": "https://alarm.example", "notify_webhook_secret": "whsec_YQ=="}, "A webhook secret is"),
    ],
)
def test_ways_that_cannot_work_are_refused_at_the_start(teller: Make, environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        teller(**environment)
    assert words in refused.value.detail

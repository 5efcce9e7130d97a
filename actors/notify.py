"""Telling people of open tasks: by e-mail through SMTP, and by a webhook. Repeated until somebody acknowledges.

What is to be told is in the database (engine/notices.py): nothing here can be lost, and a mail server that hangs holds
up nobody but other notices. What may not enter: which task is due when.
"""

import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Protocol
from urllib.parse import unquote, urlsplit

from msgspec import Struct, json

from actors import signing
from actors.connectors.client import Client, NoAnswer
from engine.clock import Clock
from engine.errors import LotgateError, SettingInvalid
from engine.notices import Notice, Notices
from engine.outbound import destination
from engine.settings import Settings
from engine.tasks import TaskLine, Tasks, TaskState

log = logging.getLogger("lotgate.notify")

#: One conversation with the mail server, and one call of the webhook, may take this long.
SEND_SECONDS = 10.0
#: Longer than everything that one message can take, so that no other process sends it too.
LEASE_SECONDS = 60.0
#: Tasks that one message spells out; the others are counted.
SHOWN_TASKS = 50
#: Messages that one round sends.
ROUND = 20


class NotSent(LotgateError):
    """The message was not taken; it is sent again later."""

    code = "notice-not-sent"
    title = "The message was not taken"


class Channel(Protocol):
    """A way to people."""

    name: str

    def send(self, notice: Notice, tasks: Sequence[TaskLine]) -> None:
        """Send one message about ``tasks``; raises NotSent."""
        ...


class Mail:
    """E-mail. The password is sent only over TLS, whose certificate is checked."""

    name = "email"

    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.smtp_url)
        if url.scheme not in ("smtp", "smtps") or not url.hostname:
            raise SettingInvalid("LOTGATE_SMTP_URL is not like smtps://user:password@mail.example:465 or smtp://host:25.")
        self._implicit = url.scheme == "smtps"
        self._host, self._port = url.hostname, url.port or (465 if self._implicit else 25)
        self._user = unquote(url.username or "")
        self._password = unquote(url.password or "")
        self._to = _addresses(settings.notify_email)
        [self._sender] = _addresses(settings.smtp_from or f"lotgate@{self._host}")
        self._service = settings.base_url

    def send(self, notice: Notice, tasks: Sequence[TaskLine]) -> None:
        """One conversation with the mail server."""
        message = self.message(notice, tasks)
        try:
            with self._connected() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise NotSent(f"the mail server takes no recipient: {_said(error.recipients)}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"the mail server at {self._host}:{self._port} did not take it: {error}") from None
        if refused:
            # The others have it: sending it to them again and again would not help the one.
            log.error("the mail server does not take %s", _said(refused))

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._implicit:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=SEND_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=SEND_SECONDS)
        try:
            server.ehlo()
            if not self._implicit and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif not self._implicit and self._user:
                raise smtplib.SMTPNotSupportedError("it offers no STARTTLS, and a password is sent only over TLS")
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def message(self, notice: Notice, tasks: Sequence[TaskLine]) -> EmailMessage:
        """The message as it is sent; every attempt has the same Message-ID."""
        message = EmailMessage()
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Subject"] = subject(tasks)
        message["Date"] = format_datetime(datetime.fromisoformat(notice.created_at))
        message["Message-ID"] = f"<lotgate-notice-{notice.id}@{self._sender.rsplit('@', 1)[-1].rstrip('>')}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text(tasks, self._service))
        return message


class Hook:
    """A webhook of the operator's, signed as Standard Webhooks asks when there is a secret."""

    name = "webhook"

    def __init__(self, settings: Settings, clock: Clock) -> None:
        try:
            found = destination(settings.notify_webhook)
        except LotgateError as error:
            raise SettingInvalid(f"LOTGATE_NOTIFY_WEBHOOK: {error.detail}") from None
        self._path = found.path
        # Not guarded: like the connector files it is the operator's own, and may lead into the plant.
        self._client = Client(found.base_url, SEND_SECONDS)
        secret = settings.notify_webhook_secret
        self._secrets = [signing.secret_bytes(secret)] if secret else []
        self._service = settings.base_url
        self._clock = clock

    def send(self, notice: Notice, tasks: Sequence[TaskLine]) -> None:
        """One call."""
        told = {
            "type": "lotgate.tasks.v1", "timestamp": notice.created_at,
            "data": {
                "summary": subject(tasks), "text": text(tasks, self._service), "open": len(tasks),
                "tasks": list(tasks[:SHOWN_TASKS]),
            },
        }  # fmt: skip
        body = json.encode(told)
        signed = signing.headers(self._secrets, f"notice_{notice.id}", int(self._clock().timestamp()), body)
        try:
            answer = self._client.call("POST", self._path, {"Content-Type": "application/json", **signed}, body)
        except NoAnswer as none:
            raise NotSent(f"the webhook did not take it: {none.detail}") from None
        if not 200 <= answer.status < 300:
            raise NotSent(f"the webhook answered {answer.status}")


class Teller(Struct):
    """Everything that telling people needs."""

    tasks: Tasks
    notices: Notices
    channels: tuple[Channel, ...]
    repeat_seconds: float

    def round(self, stopped: Callable[[], bool]) -> int:
        """Plan what is due and send what waits; gives how many messages were sent."""
        self.plan()
        return sum(self.send(channel, stopped) for channel in self.channels)

    def plan(self) -> int:
        """Make messages of the tasks that are due; gives how many tasks."""
        return self.notices.plan([channel.name for channel in self.channels], self.repeat_seconds)

    def send(self, channel: Channel, stopped: Callable[[], bool]) -> int:
        """Send what waits for ``channel``; gives how many messages were sent."""
        sent = 0
        for _ in range(ROUND):
            notice = None if stopped() else self.notices.take([channel.name], LEASE_SECONDS)
            if notice is None:
                break
            sent += self._send(channel, notice)
        return sent

    def _send(self, channel: Channel, notice: Notice) -> bool:
        unseen = self.tasks.some(notice.tasks, TaskState.OPEN)
        if not unseen:
            self.notices.dropped(notice)
            return False
        began = time.monotonic()
        try:
            channel.send(notice, unseen)
        except NotSent as error:
            wait = self.notices.failed(notice, error.detail)
            log.error("people could not be told of %d tasks; again in %.0f s: %s", len(unseen), wait, error.detail)
            return False
        self.notices.sent(notice)
        log.info("people were told of %d tasks by %s in %.1f s", len(unseen), channel.name, time.monotonic() - began)
        return True


def channels(settings: Settings, clock: Clock) -> tuple[Channel, ...]:
    """The ways to people that are set. Raises SettingInvalid for one that cannot work."""
    found: list[Channel] = []
    if settings.notify_email:
        if not settings.smtp_url:
            raise SettingInvalid("LOTGATE_NOTIFY_EMAIL is set; set LOTGATE_SMTP_URL too: the mail server.")
        found.append(Mail(settings))
    if settings.notify_webhook:
        found.append(Hook(settings, clock))
    return tuple(found)


def subject(tasks: Sequence[TaskLine]) -> str:
    """One line: what it is about."""
    first = tasks[0]
    words = f"{first.kind}: {first.subject}"
    if len(tasks) > 1:
        words += f", and {len(tasks) - 1} more"
    again = min(task.notices for task in tasks)
    return f"Lotgate: {_printable(words)}" + (f" (told {again} times)" if again > 1 else "")


def text(tasks: Sequence[TaskLine], service: str) -> str:
    """The message in words: every task, and what to do."""
    lines = [f"Nobody has acknowledged {'this task' if len(tasks) == 1 else f'these {len(tasks)} tasks'} yet.", ""]
    for task in tasks[:SHOWN_TASKS]:
        about = task.subject if task.target is None else f"{task.subject} ({task.target})"
        lines += [f"{task.id}  {task.kind}  {_printable(about)}", f"    since {task.opened_at}",
                  f"    {_printable(task.detail)}", ""]  # fmt: skip
    if len(tasks) > SHOWN_TASKS:
        lines += [f"… and {len(tasks) - SHOWN_TASKS} more: lotgate tasks list", ""]
    lines += [
        f"Say that you have seen it:  lotgate tasks acknowledge {tasks[0].id} --note \"…\"",
        f"                            or POST {service}/v1/tasks/{tasks[0].id}/acknowledge",
        "What each kind means and what to do: docs/operations.md.",
    ]
    return "\n".join(lines) + "\n"


def _printable(words: str) -> str:
    """Without line breaks and control characters: a lot's name must not become a header or a line of its own."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def _addresses(setting: str) -> list[str]:
    found = [part.strip() for part in setting.split(",") if part.strip()]
    for one in found:
        if "@" not in parseaddr(one)[1] or not one.isprintable():
            raise SettingInvalid(f"{one!r} is no e-mail address; write name@plant.example, several with commas.")
    if not found:
        raise SettingInvalid("LOTGATE_NOTIFY_EMAIL names nobody.")
    return found


def _said(recipients: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{who}: {code} {words.decode('utf-8', 'replace')}" for who, (code, words) in recipients.items())

"""Subscribers are told every journal entry: signed, in order per lot, through outages, only where the guard lets."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from actors.connectors.client import Client
from actors.deliver import Deliverer
from actors.signing import secret_text
from actors.webhooks import Subscriber, Subscribers, drain
from engine.clock import instant, system_clock
from engine.decoding import decode_event
from engine.outbound import Guard, destination
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES, load_settings
from engine.store.reading import Reading
from engine.subscriptions import Subscription, derived
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

KEY = b"k" * 32
HERE = Guard.of("127.0.0.0/8")


@pytest.fixture(scope="module")
def judge() -> Iterator[TwoChannelJudge]:
    one = TwoChannelJudge(RuleBook.load(SHIPPED_RULES), channel="reference")
    yield one
    one.close()


class Receiver:
    """A subscriber's server. It takes everything, unless ``says`` decides otherwise for a lot and version."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.says: Callable[[str, int], int | None] = lambda lot, version: 204
        self.more: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told = json.loads(body)["data"]
                status = receiver.says(told["lot"], told["version"])
                receiver.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in receiver.more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in?token=1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def told(self) -> list[tuple[str, int]]:
        """(lot, version) of every message, in the order it came."""
        found = [json.loads(body)["data"] for _, body in self.heard]
        return [(one["lot"], one["version"]) for one in found]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


class Clock:
    """The system's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


class Plant:
    def __init__(self, owing: Any, pipeline: Pipeline) -> None:
        self.owing, self.pipeline = owing, pipeline
        self.clock = Clock()
        self.known = owing.ledger.subscriptions
        self.made: list[tuple[Deliverer, threading.Event]] = []

    def receive(self, lot: str) -> None:
        data = {"item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "supplier": "ACME",
                "receipt": lot}  # fmt: skip
        self.say(lot, "lot.received.v1", data)

    def hold(self, lot: str, name: str) -> None:
        self.say(lot, "hold.applied.v1", {"hold": name, "reason": {"code": "SUSPECT"}})

    def say(self, lot: str, type_: str, data: dict[str, Any]) -> None:
        identity = f"{type_}/{lot}/{data.get('hold')}"
        event = {"specversion": "1.0", "id": identity, "source": "t", "type": type_, "subject": lot, "data": data}
        assert self.pipeline.submit(decode_event(msgspec.json.encode(event)), "t").result(20).status == 201

    def teller(self, line: Subscription, guard: Guard = HERE, disable_after: float = 3600.0) -> Deliverer:
        told_by = Subscriber(line, self.owing.ledger, KEY, guard, self.clock, disable_after)
        stopping = threading.Event()
        one = Deliverer(line.id, load_settings({}), self.owing.ledger, stopping, told_by=told_by)
        self.made.append((one, stopping))
        return one

    def tell(self, line: Subscription) -> int:
        return drain(self.teller(line), threading.Event())

    def owed(self, line: Subscription) -> list[str]:
        return [row.state for row in self.owing.ledger.lines(target=line.id)]

    def until(self, done: Callable[[], bool], one: Deliverer) -> None:
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline
            self.owing.make_due()
            one.run()
            time.sleep(0.02)


@pytest.fixture
def plant(owing: Any, judge: TwoChannelJudge) -> Iterator[Plant]:
    pipeline = Pipeline(owing.store, judge, RuleBook.load(SHIPPED_RULES), system_clock)
    pipeline.start()
    site = Plant(owing, pipeline)
    yield site
    for one, stopping in site.made:
        stopping.set()
        one.close()
    pipeline.stop()


def verified(line: Subscription, generation: int, heard: tuple[dict[str, str], bytes]) -> dict[str, Any]:
    headers, body = heard
    return dict(Webhook(secret_text(derived(KEY, line.id, generation))).verify(body, headers))


def test_every_entry_is_told_in_order_and_verifies(plant: Plant, receiver: Receiver, lot: str) -> None:
    plant.receive("before")
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    for n in range(5):
        plant.hold(lot, f"H{n}")
    assert plant.tell(line) == len(Reading(plant.owing.store).journal(lot))
    entries = Reading(plant.owing.store).journal(lot)
    assert receiver.told() == [(lot, entry.version) for entry in entries]
    said = [verified(line, 1, heard) for heard in receiver.heard]
    assert [one["type"] for one in said] == [entry.type for entry in entries]
    assert [one["data"]["hash"] for one in said] == [entry.hash for entry in entries]
    assert said[0]["data"]["data"]["item"] == "RING-74"
    assert said[0]["timestamp"] == entries[0].recorded_at
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == len(entries)
    assert set(plant.owed(line)) == {"delivered"}


def test_a_message_that_was_changed_or_is_old_does_not_verify(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    plant.clock.ahead = -timedelta(hours=1)
    plant.tell(line)
    with pytest.raises(WebhookVerificationError):
        verified(line, 1, receiver.heard[0])
    plant.clock.ahead = timedelta()
    plant.hold(lot, "H")
    plant.tell(line)
    headers, body = receiver.heard[-1]
    assert b'"state_after":"blocked"' in body
    verified(line, 1, (headers, body))
    with pytest.raises(WebhookVerificationError):
        verified(line, 1, (headers, body.replace(b"blocked", b"released")))


def test_one_lot_that_is_not_taken_holds_up_no_other_and_keeps_its_order(
    plant: Plant, receiver: Receiver, lot: str
) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    bad, good = f"{lot}-bad", f"{lot}-good"
    for name in (bad, good):
        plant.receive(name)
        plant.hold(name, "H")
    receiver.says = lambda name, version: 500 if name == bad and version == 1 else 204
    one = plant.teller(line)
    plant.until(lambda: plant.owed(line).count("delivered") == 3, one)
    assert [version for name, version in receiver.told() if name == good] == [1, 2, 3]
    assert {version for name, version in receiver.told() if name == bad} == {1}
    receiver.says = lambda name, version: 204
    plant.until(lambda: set(plant.owed(line)) == {"delivered"}, one)
    ids = [headers["webhook-id"] for headers, body in receiver.heard if json.loads(body)["data"]["lot"] == bad]
    assert [version for name, version in receiver.told() if name == bad][-3:] == [1, 2, 3]
    assert len(set(ids)) == 3, "the id is the same for every attempt"


def test_a_lost_answer_is_told_again_under_the_same_id(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    receiver.says = lambda name, version: None if len(receiver.heard) == 0 else 204
    plant.until(lambda: set(plant.owed(line)) == {"delivered"}, plant.teller(line))
    ids = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ids) - 1


def test_while_a_secret_is_rotated_both_verify_and_then_only_the_new_one(
    plant: Plant, receiver: Receiver, lot: str
) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    rotated = plant.known.rotate(line.id, 600)
    assert rotated.generation == 2
    plant.receive(lot)
    plant.tell(rotated)
    assert verified(line, 1, receiver.heard[0]) == verified(line, 2, receiver.heard[0])
    plant.clock.ahead = timedelta(seconds=601)
    late = plant.teller(rotated)
    plant.hold(lot, "H")
    late.run()
    plant.clock.ahead = timedelta()
    with pytest.raises(WebhookVerificationError):
        verified(line, 1, receiver.heard[-1])


def test_a_redirect_is_not_followed(plant: Plant, receiver: Receiver, talker: Any, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    receiver.says, receiver.more = (lambda name, version: 302), {"Location": talker.url}
    plant.tell(line)
    assert talker.heard == []
    assert "delivered" not in plant.owed(line)


def test_410_disables_and_somebody_is_told(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    receiver.says = lambda name, version: 410
    plant.tell(line)
    seen = plant.known.get(line.id)
    assert seen.disabled_why == "it answered 410: it is gone"
    [task] = plant.owing.ledger.tasks.lines()
    assert (task.kind, task.subject) == ("webhook-disabled", line.id)
    plant.hold(lot, "H")
    assert len(plant.owed(line)) == 2, "what comes meanwhile is not owed"
    receiver.says = lambda name, version: 204
    enabled = plant.known.enable(line.id)
    plant.until(lambda: set(plant.owed(line)) == {"delivered"}, plant.teller(enabled))
    assert receiver.told()[-3:] == [(lot, 1), (lot, 2), (lot, 3)], "and is made up for"


def test_a_subscriber_that_takes_nothing_for_long_is_disabled(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    receiver.says = lambda name, version: 500
    one = plant.teller(line, disable_after=3600)
    one.run()
    assert plant.known.get(line.id).failing_since is not None
    assert plant.known.get(line.id).disabled_at is None
    plant.clock.ahead = timedelta(hours=2)
    plant.until(lambda: plant.known.get(line.id).disabled_at is not None, one)
    assert str(plant.known.get(line.id).disabled_why).startswith("it has taken nothing for 2.0 hours; the last: ")
    before = len(receiver.heard)
    plant.owing.make_due()
    one.run()
    assert len(receiver.heard) == before


def test_one_that_recovers_in_time_is_not_disabled(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    receiver.says = lambda name, version: 503 if len(receiver.heard) < 2 else 204
    plant.until(lambda: set(plant.owed(line)) == {"delivered"}, plant.teller(line))
    assert plant.known.get(line.id).failing_since is None


def test_what_is_inside_is_never_called(plant: Plant, receiver: Receiver, lot: str) -> None:
    """As when a name that was public resolves to this machine later."""
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    plant.teller(line, guard=Guard()).run()
    assert receiver.heard == []
    assert "which is not a public address" in str(plant.known.get(line.id).disabled_why)
    assert plant.owing.ledger.tasks.lines()[0].kind == "webhook-disabled"


def test_only_the_wanted_types_are_told(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", ("hold.applied.v1",), "pat")
    plant.receive(lot)
    plant.hold(lot, "H")
    plant.tell(line)
    assert [json.loads(body)["type"] for _, body in receiver.heard] == ["hold.applied.v1"]


def test_everything_since_an_instant_can_be_told_again(plant: Plant, receiver: Receiver, lot: str) -> None:
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    plant.tell(line)
    number = len(receiver.heard)
    since = instant(system_clock() - timedelta(hours=1))
    assert plant.known.recover(line.id, since, dry_run=True) == number
    assert plant.known.recover(line.id, instant(system_clock()), dry_run=False) == 0
    assert plant.known.recover(line.id, since, dry_run=False) == number
    plant.tell(line)
    ids = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert ids[:number] == ids[number:]


def test_a_late_subscriber_can_be_told_what_was_before_it(plant: Plant, receiver: Receiver, lot: str) -> None:
    plant.receive(lot)
    line = plant.known.add(receiver.url, "MES", (), "pat")
    number = len(Reading(plant.owing.store).journal(lot))
    assert plant.known.recover(line.id, "2026-01-01T00:00:00.000000Z", dry_run=True) == number
    assert plant.known.recover(line.id, "2026-01-01T00:00:00.000000Z", dry_run=False) == number
    plant.tell(line)
    assert receiver.told() == [(lot, version) for version in range(1, number + 1)]


def test_what_was_under_way_when_it_was_made_is_made_up_for(plant: Plant, receiver: Receiver, lot: str) -> None:
    """As if the batch had been read before the subscription was made, and committed after."""
    line = plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    with plant.owing.store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM deliveries WHERE target LIKE 'hook-%'")
    assert plant.known.make_up() == len(Reading(plant.owing.store).journal(lot))
    assert plant.known.make_up() == 0
    assert plant.known.get(line.id) == line


def test_a_subscriber_never_keeps_a_lot_from_being_shipped(plant: Plant, receiver: Receiver, lot: str) -> None:
    plant.known.add(receiver.url, "MES", (), "pat")
    plant.receive(lot)
    lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
    plant.say(lot, "inspection.recorded.v1", {"inspection": "IL-1", "measurements": lines})
    with plant.owing.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET state = 'delivered' WHERE target IN ('erp', 'wms')")
    plant.say(lot, "lot.shipped.v1", {"shipment": "S-1", "customer": "C"})
    assert Reading(plant.owing.store).lot(lot).state == "shipped"
    assert {one.target for one in plant.owing.ledger.acknowledged(lot)} == {"erp", "wms"}


def test_a_worker_tells_whoever_is_owed_something(plant: Plant, receiver: Receiver, tmp_path: Any, lot: str) -> None:
    stopping = threading.Event()
    settings = load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_OUTBOUND_ALLOW": "127.0.0.0/8"})
    subscribers = Subscribers(settings, plant.owing.ledger, stopping)
    line, other = (plant.known.add(receiver.url, name, (), "pat") for name in ("MES", "QMS"))
    plant.receive(lot)
    deadline = time.monotonic() + 10
    while {*plant.owed(line), *plant.owed(other)} != {"delivered"}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    plant.known.remove(other.id)
    plant.hold(lot, "H")
    while len(receiver.heard) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stopping.set()
    subscribers.close()
    assert (tmp_path / "webhook.key").stat().st_mode & 0o777 == 0o600


def test_a_message_is_not_held_back_on_its_way(plant: Plant, receiver: Receiver) -> None:
    """Head and body are two packets; without TCP_NODELAY each message would wait 40 ms for an acknowledgement."""
    client = Client(destination(receiver.url).base_url, 5.0, HERE)
    body = json.dumps({"data": {"lot": "L", "version": 1}}).encode()
    began = time.monotonic()
    for _ in range(25):
        assert client.call("POST", "/", {"Content-Type": "application/json"}, body).status == 204
    assert time.monotonic() - began < 0.8
    client.close()

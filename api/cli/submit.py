"""``lotgate submit``: events from a file or standard input, byte for byte as they are written there.

Events of one lot go one after the other, lots side by side. A retry is always safe: the service answers an event
that it knows with its first answer. What may not enter: what an event means.
"""

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from api.cli.client import Client, body_of
from api.cli.main import DONE, FOUND, Failure, counted, print_json
from engine.settings import Settings

#: How often an event is sent again while the service is away or says "later", and the longest wait between.
TRIES = 8
LONGEST_WAIT_SECONDS = 10.0
_HEADERS = {"Content-Type": "application/cloudevents+json"}


class Outgoing(Struct, frozen=True):
    """One event: what it is called, and its bytes."""

    id: Any
    lot: Any
    content: bytes


class _Envelope(Struct):
    """What the command itself looks at."""

    id: Any = None
    subject: Any = None


def submit(options: argparse.Namespace, settings: Settings) -> int:
    """Send events; gives 1 when one of them was refused."""
    if options.spool:
        from api.cli.spooled import through_spool

        events = [] if options.file is None else read_events(options.file)
        return through_spool(options, settings, [event.content for event in events])
    if options.file is None:
        raise Failure("`lotgate submit` needs a file, - for standard input, or --spool")
    events = read_events(options.file)
    client = Client(options, settings)
    client.get("/v1/lots", limit=1)
    lines: dict[str, list[tuple[int, Outgoing]]] = {}
    for number, event in enumerate(events):
        lines.setdefault(str(event.lot), []).append((number, event))
    results: list[dict[str, Any]] = [{}] * len(events)
    stop = threading.Event()
    progress = _Progress(len(events), quiet=options.json or not sys.stderr.isatty())

    def send_line(line: list[tuple[int, Outgoing]]) -> None:
        for number, event in line:
            if not stop.is_set():
                results[number] = _send(client, event)
                progress.step()

    with ThreadPoolExecutor(options.at_once) as pool:
        try:
            list(pool.map(send_line, lines.values()))
        finally:
            stop.set()
            progress.end()
    return _summary(results, options.json)


def read_events(name: str) -> list[Outgoing]:
    """The events in a file (``-``: standard input): one object, an array, or one object a line."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}") from None
    where = "standard input" if name == "-" else name
    found = [_outgoing(piece, f"{where}, {place}") for place, piece in _pieces(data, where)]
    if not found:
        raise Failure(f"there are no events in {where}")
    return found


def _pieces(data: bytes, where: str) -> list[tuple[str, bytes]]:
    """Each event's bytes, and where they stand."""
    try:
        whole = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = enumerate(data.splitlines(), 1)
        return [(f"line {number}", line) for number, line in lines if line.strip()]
    if isinstance(whole, list):
        # Raw: what is sent is what was written; a number with many digits would not survive a binary float.
        raw = msgspec.json.decode(data, type=list[msgspec.Raw])
        return [(f"item {number}", bytes(item)) for number, item in enumerate(raw, 1)]
    return [("item 1", data)]


def _outgoing(content: bytes, place: str) -> Outgoing:
    try:
        if not isinstance(msgspec.json.decode(content), dict):
            raise Failure(f"{place} is not an event: an event is a JSON object")
        envelope = msgspec.json.decode(content, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{place} is not JSON: {error}") from None
    return Outgoing(envelope.id, envelope.subject, content)


def _send(client: Client, event: Outgoing) -> dict[str, Any]:
    answer = until_answered(client, event.content)
    if answer.status_code in (401, 403):
        client.json(answer)
    body = body_of(answer)
    outcome = body.get("outcome") or str(body.get("type", "")).rpartition("/")[2] or str(answer.status_code)
    if answer.headers.get("Idempotency-Replayed") == "true":
        outcome = "replayed"
    return {
        "id": event.id, "lot": event.lot, "status": answer.status_code, "outcome": outcome,
        "detail": body.get("detail", ""), "rules": [r["rule"] for r in body.get("rules", [])],
        "problems": [f"{e['pointer']}: {e['detail']}" for e in body.get("errors", []) if e.get("pointer")],
    }  # fmt: skip


def until_answered(client: Client, content: bytes) -> httpx.Response:
    """The first answer that is not "later"; the last one when it never comes."""
    for attempt in range(TRIES):
        wait, last = min(LONGEST_WAIT_SECONDS, 0.2 * 2**attempt), attempt == TRIES - 1
        try:
            answer = client.try_call("POST", "/v1/events", content=content, headers=_HEADERS)
        except httpx.TransportError as error:
            if last:
                raise client.away(error) from None
        else:
            if answer.status_code not in (429, 503) or last:
                return answer
            told = answer.headers.get("Retry-After", "")
            wait = min(LONGEST_WAIT_SECONDS, float(told)) if told.isdigit() else wait
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _summary(results: list[dict[str, Any]], as_json: bool) -> int:
    refused = [r for r in results if r["status"] >= 400]
    if as_json:
        print_json(results)
        return FOUND if refused else DONE
    for result in refused:
        print(f"refused: {result['id']} of lot {result['lot']}: {result['outcome']}: {result['detail']}")
        for problem in result["problems"]:
            print(f"         {problem}")
    counts: dict[str, int] = {}
    for result in results:
        counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
    outcomes = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    print(f"{counted(len(results), 'event', 'events')}: {outcomes}")
    return FOUND if refused else DONE


class _Progress:
    """A progress bar on standard error, where somebody looks."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._bar: Any = None
        if not quiet:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("events", total=total)
            self._bar.start()

    def step(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._task)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()

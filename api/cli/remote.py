"""Commands that ask the running service over HTTP: demo, submit, lot, deliveries."""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from api.cli.main import DONE, FOUND, WRONG, Failure
from engine.people import ADMIN_KEY_FILE
from engine.settings import Settings

#: How often an event is sent again while the service says "later", and the longest wait between.
TRIES = 8
LONGEST_WAIT_SECONDS = 10.0


class Client:
    """The service, as a caller sees it."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self.url = (options.url or settings.base_url).rstrip("/")
        self.key = options.key or key_of(settings)
        self._http = httpx.Client(
            base_url=self.url, timeout=30.0, trust_env=False, headers={"Authorization": f"Bearer {self.key}"}
        )

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request; a service that is not there is a sentence, not a traceback."""
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Failure(f"Lotgate does not answer at {self.url} ({error}); start it with `make up`") from None

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at ``path``; a problem is a sentence."""
        wanted = {name: value for name, value in parameters.items() if value is not None}
        return self.json(self.call("GET", path, params=wanted))

    def json(self, answer: httpx.Response) -> Any:
        """The answer's JSON; raises Failure for a problem."""
        body = msgspec.json.decode(answer.content) if answer.content else {}
        if answer.status_code >= 400:
            words = body.get("detail") or body.get("title") or answer.reason_phrase
            raise Failure(f"{words} ({answer.status_code})", FOUND)
        return body


def key_of(settings: Settings) -> str:
    """The key from the settings, else the administrator's in LOTGATE_HOME."""
    if settings.api_key:
        return settings.api_key
    path = settings.home / ADMIN_KEY_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        raise Failure(
            f"there is no API key: give --key, set LOTGATE_API_KEY, or start Lotgate, which makes {path}"
        ) from None


def demo(options: argparse.Namespace, settings: Settings) -> int:
    """The supplier-receipt story."""
    from demo.story import run_story

    client = Client(options, settings)
    return run_story(
        base_url=client.url, api_key=client.key, erp_url=settings.erp_url, wms_url=settings.wms_url,
        lots=options.lots, as_json=options.json, out=sys.stdout,
    )  # fmt: skip


# -- submit ------------------------------------------------------------------------------------------------------


def submit(options: argparse.Namespace, settings: Settings) -> int:
    """Send events; their order per lot is kept, and a retry is always safe."""
    events = list(_events(options.file))
    if not events:
        raise Failure(f"there are no events in {options.file}")
    client = Client(options, settings)
    lines: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, event in enumerate(events):
        lines.setdefault(str(event.get("subject")), []).append((number, event))
    results: list[dict[str, Any]] = [{}] * len(events)
    progress = _Progress(len(events), quiet=options.json or not sys.stderr.isatty())

    def send_line(line: list[tuple[int, dict[str, Any]]]) -> None:
        for number, event in line:
            results[number] = _send(client, event)
            progress.step()

    with ThreadPoolExecutor(max(1, options.at_once)) as pool:
        list(pool.map(send_line, lines.values()))
    progress.end()
    return _summary(results, options.json)


def _events(name: str) -> Iterator[dict[str, Any]]:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}") from None
    try:
        whole = msgspec.json.decode(data)
        found = whole if isinstance(whole, list) else [whole]
    except msgspec.DecodeError:
        found = []
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                try:
                    found.append(msgspec.json.decode(line))
                except msgspec.DecodeError as error:
                    raise Failure(f"{name}, line {number} is not JSON: {error}") from None
    for number, event in enumerate(found, 1):
        if not isinstance(event, dict):
            raise Failure(f"{name}: item {number} is not an event (a JSON object)")
        yield event


def _send(client: Client, event: dict[str, Any]) -> dict[str, Any]:
    content = msgspec.json.encode(event)
    headers = {"Content-Type": "application/cloudevents+json"}
    for attempt in range(TRIES):
        try:
            answer = client._http.post("/v1/events", content=content, headers=headers)
        except httpx.TransportError as error:
            if attempt == TRIES - 1:
                raise Failure(f"Lotgate does not answer at {client.url} ({error}); start it with `make up`") from None
            time.sleep(min(LONGEST_WAIT_SECONDS, 0.2 * 2**attempt))
            continue
        if answer.status_code in (429, 503) and attempt < TRIES - 1:
            time.sleep(min(LONGEST_WAIT_SECONDS, float(answer.headers.get("Retry-After", "1"))))
            continue
        break
    body = msgspec.json.decode(answer.content) if answer.content else {}
    outcome = body.get("outcome") or body.get("code") or str(answer.status_code)
    if answer.headers.get("Idempotency-Replayed") == "true":
        outcome = "replayed"
    return {
        "id": event.get("id"), "lot": event.get("subject"), "status": answer.status_code, "outcome": outcome,
        "detail": body.get("detail", ""), "rules": [r["rule"] for r in body.get("rules", [])],
    }  # fmt: skip


def _summary(results: list[dict[str, Any]], as_json: bool) -> int:
    refused = [r for r in results if r["status"] >= 400]
    if as_json:
        print(msgspec.json.encode(results).decode())
    else:
        for result in refused:
            print(f"refused {result['id']} ({result['lot']}): {result['outcome']}: {result['detail']}")
        counts: dict[str, int] = {}
        for result in results:
            counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
        print(f"{len(results)} events: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
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


# -- lot and deliveries --------------------------------------------------------------------------------------------


def lot(options: argparse.Namespace, settings: Settings) -> int:
    """A lot: state, why, journal, next steps; or every guard of a trigger."""
    client = Client(options, settings)
    path = f"/v1/lots/{quote(options.lot, safe='')}"
    if options.explain:
        explanation = client.get(f"{path}/explain", trigger=options.explain)
        if options.json:
            print(msgspec.json.encode(explanation).decode())
        else:
            _print_explanation(explanation)
        return DONE if explanation["open"] else FOUND
    found = client.get(path)
    entries = client.get(f"{path}/journal", limit=500)["data"]
    if options.json:
        print(msgspec.json.encode({"lot": found, "journal": entries}).decode())
        return DONE
    where = f", closed ({found['closed']})" if found.get("closed") else ""
    print(f"{found['id']}: {found['state']}{where}, version {found['version']}")
    print(f"  {found['quantity']} {found['unit']} of {found['item']} rev {found['revision']}, "
          f"supplier {found.get('supplier') or '–'}")  # fmt: skip
    for hold in found.get("holds", []):
        print(f"  hold {hold['hold']}: {hold['reason']} {hold.get('text', '')}".rstrip())
    for target in found.get("targets", []):
        agreed = target.get("acknowledged_state") or "nothing yet"
        print(f"  {target['target']}: agreed to {agreed} (sent {target.get('sent_state')})")
    steps = [s["trigger"] for s in found.get("next_steps", found.get("next", [])) if not s.get("automatic")]
    print(f"  next: {', '.join(steps)}")
    for entry in entries:
        change = f"{entry['state_before']} → {entry['state_after']}"
        print(f"  {entry['version']:>3} {entry['recorded_at'][:19]} {entry['kind']:<11} {entry['type']:<26} {change}")
    return DONE


def _print_explanation(found: dict[str, Any]) -> None:
    answer = "would be carried out" if found["open"] else "would be refused"
    print(f"{found['trigger']} of {found['lot']} ({found['state']}, version {found['version']}) {answer}.")
    if not found["possible"]:
        print(f"  The lifecycle has no {found['trigger']} for a lot that is {found['state']}.")
    for guard in found["guards"]:
        print(f"  fail     {guard['rule']}: {guard['message']}")
    for rule in found["rules"]:
        print(f"  {rule['verdict']:<8} {rule['rule']}  {rule['file']}:{rule['line']}  {rule['message']}")
        for line in rule["conditions"]:
            print(f"             {line['verdict']:<8} {line['text']}   ({line['left']} | {line['right']})")


def deliveries(options: argparse.Namespace, settings: Settings) -> int:
    """The ledger, or a replay."""
    client = Client(options, settings)
    if options.replay:
        return _replay(client, options)
    parameters = {"status": options.status, "target": options.target, "lot": options.lot, "limit": 200}
    found = client.get("/v1/deliveries", **parameters)["data"]
    if options.json:
        print(msgspec.json.encode(found).decode())
        return DONE
    for line in found:
        state = line.get("status") or line.get("state")
        error = f"  {line['last_error']}" if line.get("last_error") else ""
        print(f"{line['id']:>8} {line['target']:<5} {line['lot']:<24} v{line['version']:<4} {state:<11} "
              f"{line['attempts']} attempts{error}")  # fmt: skip
    print(f"{len(found)} deliveries")
    return DONE


def _replay(client: Client, options: argparse.Namespace) -> int:
    key = {"Idempotency-Key": f"cli-{time.time_ns()}"}
    if options.replay != "all":
        if not options.replay.isdigit():
            raise Failure(f"--replay takes a delivery's number or `all`, not {options.replay!r}", WRONG)
        answer = client.json(client.call("POST", f"/v1/deliveries/{options.replay}/replay", headers=key))
    else:
        body = {"target": options.target, "lot": options.lot, "dry_run": options.dry_run}
        wanted = {name: value for name, value in body.items() if value is not None}
        answer = client.json(client.call("POST", "/v1/deliveries/replay", json=wanted, headers=key))
    print(msgspec.json.encode(answer).decode() if options.json else f"{answer.get('replayed', 0)} deliveries replayed")
    return DONE

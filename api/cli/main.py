"""The ``lotgate`` command: its words, and which room answers each. Heavy imports happen only where they are needed.

Exit codes: 0 done, 1 refused or something was found, 2 wrong use or nothing could be reached.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from engine.errors import LotgateError
from engine.settings import Settings, load_settings

DONE, FOUND, WRONG = 0, 1, 2
_REFERENCE = (
    "inspection-plan", "fact", "order", "allocation", "customer", "calendar", "routing", "hold-reason", "shelf-life",
)  # fmt: skip
Command = Callable[[argparse.Namespace, Settings], int]


class Failure(Exception):
    """The command cannot go on; the sentence goes to standard error."""

    def __init__(self, sentence: str, code: int = WRONG) -> None:
        super().__init__(sentence)
        self.code = code


def print_json(value: object) -> None:
    """``value`` on standard output, for programs and for people."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun: ``1 lot``, ``2 lots``."""
    return f"{number} {one if number == 1 else many}"


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to get help, in one line."""
        sys.stderr.write(f"lotgate: {message}; see `{self.prog} --help`.\n")
        raise SystemExit(WRONG)


def count(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    root = Parser(prog="lotgate", description="The quality gate for manufacturing lots.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_: str, *, json: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        if json:
            command.add_argument("--json", action="store_true", help="answer in JSON")
        return command

    def remote(command: argparse.ArgumentParser) -> None:
        command.add_argument("--url", help="where Lotgate answers (LOTGATE_HOST, LOTGATE_PORT)")
        command.add_argument("--key", help="API key (LOTGATE_API_KEY); else LOTGATE_HOME/admin.key")

    up = add("up", "run everything here: web, worker, clock, Redis, and sandbox systems where none are set", json=False)
    up.add_argument("--workers", type=count, default=1, help="worker processes (1)")
    for name, help_ in (
        ("web", "run the web process"),
        ("worker", "run a worker process, which tells ERP and WMS"),
        ("clock", "run the clock process, which sweeps and expires"),
        ("migrate", "bring the database to this release"),
    ):
        add(name, help_, json=False)

    demo = add("demo", "tell a supplier-receipt story on measured data against the running service")
    demo.add_argument("--lots", type=count, help="how many lots (all)")
    remote(demo)
    submit = add("submit", "send CloudEvents from a file or standard input: JSON, a JSON array, or NDJSON")
    submit.add_argument("file", nargs="?", help="a file, or - for standard input; with --spool: only what waits there")
    submit.add_argument("--spool", metavar="PATH", help="keep events in this file until the service has taken them")
    submit.add_argument("--at-once", type=count, default=16, help="events in flight (16); order per lot is kept")
    remote(submit)
    inbox = add("inbox", "take files that were dropped: CSV, fixed width, XLSX; rows become events or reference data")
    inbox.add_argument("what", help="a file, or a folder that files are dropped into")
    inbox.add_argument("--mapping", required=True, metavar="FILE", help="the inbound file that says what rows become")
    inbox.add_argument("--dry-run", action="store_true", help="say what would be, send nothing, move nothing")
    remote(inbox)
    pull = add("pull", "inbound files: how they stand; check them, try one, have a list fetched now")
    pull.add_argument("action", choices=("status", "check", "try", "now"))
    pull.add_argument("name", nargs="?", help="try, now: which list")
    pull.add_argument("--since", help="try, now: from this watermark on, such as 2026-11-23T08:00:00Z")
    lot = add("lot", "show a lot: state, holds, what ERP and WMS know, what can happen next, journal")
    lot.add_argument("lot", nargs="+", help="the lot's id; or `explain` and the lot's id")
    lot.add_argument("--explain", "--trigger", metavar="TRIGGER", help="show every guard of a trigger (release)")
    lot.add_argument("--as-decided", nargs="?", const="last", metavar="VERSION",
                     help="explain it as it was decided then, by the rules and facts of then")  # fmt: skip
    remote(lot)
    where = add("where", "ask every system what it says of a lot now")
    where.add_argument("lot", help="the lot's id")
    remote(where)
    trace = add("trace", "show what was made of a lot, or what it was made of, as a tree")
    trace.add_argument("lot", help="the lot's id")
    trace.add_argument("--backward", action="store_true", help="what it was made of")
    trace.add_argument("--depth", type=count, default=1000, help="steps at most (1000)")
    trace.add_argument("--csv", action="store_true", help="one line a lot, for spreadsheets")
    remote(trace)
    ready = add("ready", "may these orders leave now, or these lots for a customer?")
    ready.add_argument("what", nargs="+", help="numbers of orders; with --customer: the lots of a shipment")
    ready.add_argument("--signal", action="store_true", help="tell the warehouse, and take it back when it changes")
    ready.add_argument("--customer", help="who gets the lots")
    ready.add_argument("--shipment", default="question", help="its number, where rules look at it")
    ready.add_argument("--deliver-on", metavar="DATE", help="the day they arrive (today)")
    ready.add_argument("--remaining-days", type=count, help="days of shelf life that the customer has to get")
    ready.add_argument("--plant", action="append", help="a plant that the customer approves (several times)")
    remote(ready)
    operation = add("operation", "may an operation of a lot, or of a production order, start? what was reported?")
    operation.add_argument("what", help="the lot's id; with --order: the production order")
    operation.add_argument("operation", nargs="?", help="its number; left out: list those of the lot")
    operation.add_argument("--order", action="store_true", help="every lot of a production order")
    remote(operation)
    decide = add("decide", "what becomes of the parts of a lot: released, blocked, disposed of; in one command")
    decide.add_argument("lot", help="the lot's id")
    decide.add_argument("parts", nargs="+", metavar="DECISION=QUANTITY[:LOT]",
                        help="such as release=900 block=100:L-7-BAD; together the whole lot, in its unit")  # fmt: skip
    decide.add_argument("--reason", required=True, help="a code of your list")
    decide.add_argument("--text", help="free words on it")
    decide.add_argument("--record", help="the nonconformance whose decision this carries out")
    decide.add_argument("--once", metavar="KEY", help="the same for each try: it is done once")
    remote(decide)
    concessions = add("concessions", "what is used under concessions by all lots together, and what is left")
    concessions.add_argument("number", nargs="?", help="one of them, with its lots; left out: all that were used")
    remote(concessions)
    recall = add("recall", "what a recall would touch; open, watch and close recalls")
    recall.add_argument("action", choices=("list", "preview", "open", "show", "close"))
    recall.add_argument("recall", nargs="?", help="open: an id of your own; show, close: which")
    recall.add_argument("--lot", action="append", help="preview, open: this lot; may be given several times")
    for name, help_ in (
        ("supplier", "lots of this supplier"), ("item", "lots of this item"), ("revision", "lots of this revision"),
        ("order", "lots of this purchase or production order"), ("plant", "lots of this plant"),
        ("received-from", "lots received or made since then, such as 2026-11-23T08:00:00Z"),
        ("received-until", "lots received or made until then"),
    ):  # fmt: skip
        recall.add_argument(f"--{name}", help=f"preview, open: {help_}")
    recall.add_argument("--measured", metavar="CHARACTERISTIC", help="preview, open: any result of it is out of bounds")
    recall.add_argument("--above", metavar="VALUE", help="with --measured: results above it")
    recall.add_argument("--below", metavar="VALUE", help="with --measured: results below it")
    recall.add_argument("--unit", help="with --measured: results in this unit only")
    recall.add_argument("--reason", help="open: a code of your list")
    recall.add_argument("--text", help="open: what is wrong")
    recall.add_argument("--note", help="close: why it is over")
    recall.add_argument("--csv", action="store_true", help="show: one line a lot, for spreadsheets")
    remote(recall)
    from api.cli.hold import add_words as add_hold_words

    hold = add("hold", "holds on many lots: look, place, watch, lift")
    add_hold_words(hold)
    remote(hold)
    quality = add("quality", "scorecards of suppliers, control charts of what was measured, limits that are set")
    quality.add_argument("action", choices=("scorecards", "charts", "limits", "sampling"))
    quality.add_argument("--item", help="only this item; charts, limits: which")
    quality.add_argument("--supplier", help="only this supplier; empty: our own production")
    quality.add_argument("--characteristic", help="only this characteristic; limits: which")
    quality.add_argument("--centre", type=float, help="limits: the centre line (from the newest lots)")
    quality.add_argument("--sigma", type=float, help="limits: standard error of a point")
    quality.add_argument("--size", type=count, help="limits: values a lot (any number)")
    quality.add_argument("--clear", action="store_true", help="limits: back to limits that come from the lots")
    levels = ("normal", "tightened", "reduced", "lot_by_lot")
    quality.add_argument("--severity", choices=levels, help="sampling: from now on; lot_by_lot ends skip-lot")
    quality.add_argument("--reason", help="sampling: who agreed, and why")
    remote(quality)
    reference = add("reference", "inspection plans, routings, facts, orders, customers …: list, show, load")
    reference.add_argument("action", choices=("list", "show", "load"))
    reference.add_argument("what", nargs="?", help="show: the key; load: a file (.csv for facts), or -")
    reference.add_argument("--kind", default="inspection-plan", choices=_REFERENCE)
    reference.add_argument("--item", help="list: only about this item")
    reference.add_argument("--on", metavar="DATE", help="list: in force on this day (today)")
    reference.add_argument("--dry-run", action="store_true", help="load: say what would be, change nothing")
    remote(reference)
    deliveries = add("deliveries", "show the delivery ledger, or replay dead deliveries")
    deliveries.add_argument("--state", help="only those that are pending, sending, delivered, superseded or dead")
    deliveries.add_argument("--target", help="only this target's, such as erp")
    deliveries.add_argument("--lot", help="only this lot's")
    deliveries.add_argument("--replay", metavar="ID", help="replay one dead delivery, or `all` that match")
    deliveries.add_argument("--dry-run", action="store_true", help="with --replay: only count")
    remote(deliveries)
    targets = add("targets", "show how the targets do, or pause and resume one of them")
    targets.add_argument("action", nargs="?", choices=("pause", "resume"))
    targets.add_argument("target", nargs="?", help="its name, such as erp")
    targets.add_argument("--reason", default="no reason given", help="with pause: why, for those who look")
    remote(targets)
    reconcile = add("reconcile", "read a target back and compare it with what it agreed to")
    reconcile.add_argument("target", help="its name, such as erp")
    reconcile.add_argument("--lot", help="only this lot")
    reconcile.add_argument("--repair", action="store_true", help="tell it again where its connector file lets that")
    tasks = add("tasks", "list what somebody has to look at; acknowledge or close a task")
    tasks.add_argument("action", nargs="?", choices=("list", "acknowledge", "close"), default="list")
    tasks.add_argument("task", nargs="?", help="acknowledge, close: the task's number")
    tasks.add_argument("--note", help="acknowledge, close: what others should know")
    tasks.add_argument("--who", help="acknowledge, close: who does it (your name on this machine)")
    tasks.add_argument("--state", choices=("open", "acknowledged", "closed"), help="list: only these")
    tasks.add_argument("--kind", help="list: only this kind")
    remote(tasks)
    webhooks = add("webhooks", "list who is told every journal entry; add, rotate, disable, enable, remove, recover")
    actions = ("list", "add", "rotate", "disable", "enable", "remove", "recover")
    webhooks.add_argument("action", nargs="?", choices=actions, default="list")
    webhooks.add_argument("subject", nargs="?", help="add: its URL; the others: the subscription's id")
    webhooks.add_argument("--name", help="add: whose it is, for people")
    webhooks.add_argument("--type", action="append", help="add: only this event type; may be given several times")
    webhooks.add_argument("--overlap", type=count, help="rotate: seconds for which the old secret signs, too (a day)")
    webhooks.add_argument("--reason", default="no reason given", help="disable: why, for those who look")
    webhooks.add_argument("--since", help="recover: tell it everything again since then, such as 2026-11-23T08:00:00Z")
    webhooks.add_argument("--dry-run", action="store_true", help="recover: only count")
    remote(webhooks)
    connectors = add("connectors", "check connector files, read a lot's targets, or show what they would be told")
    connectors.add_argument("action", choices=("check", "try"))
    connectors.add_argument("lot", nargs="?", help="the lot's id; with check: only reads are sent")
    audit = add("audit", "the evidence of a lot as one archive, and its verification without a service")
    audit.add_argument("action", choices=("export", "verify", "checkpoint", "key"))
    audit.add_argument("what", nargs="?", help="export: the lot; checkpoint: one (everything); verify: the archive")
    audit.add_argument("--out", metavar="FILE", help="export: where to (<lot>.zip); checkpoint, key: (standard output)")
    audit.add_argument("--checkpoint", action="append", metavar="FILE",
                       help="verify: a checkpoint of the lot that was kept; several times")  # fmt: skip
    audit.add_argument("--certificate", metavar="FILE", help="verify: write the certificate, made anew of the evidence")
    audit.add_argument("--url", help="where Lotgate answers (LOTGATE_HOST, LOTGATE_PORT)")
    audit.add_argument("--key", help="verify: a file with the public key that has to have signed it; else your API key")
    verify = add("verify", "verify the journal: hash chains, versions, that it gives the lots, and what was signed")
    verify.add_argument("--lot", help="only this lot")
    verify.add_argument("--checkpoint", nargs="+", action="extend", metavar="FILE",
                        help="checkpoints of everything that were kept elsewhere")  # fmt: skip
    verify.add_argument("--key", action="append", metavar="FILE",
                        help="a public key (PEM) that may have signed, besides this installation's")  # fmt: skip
    from api.cli.archive import add_words as add_archive_words

    add_archive_words(add("archive", "lots that are closed for long leave the journal: run, list, verify, restore"))
    from api.cli.rules import add_words

    rules = add("rules", "rule files and rule sets: lint, test, backtest, stage, approve, activate …", json=False)
    add_words(rules, remote)
    sampling = add("sampling", "sampling plans of ANSI/ASQ Z1.4, ISO 2859-1 and Z1.9, their curves, and tables of them")
    sampling.add_argument("action", choices=("plan", "curve", "table", "judge"))
    sampling.add_argument("--lot-size", type=count, help="units in the lot")
    sampling.add_argument("--aql", help="percent nonconforming, such as 0.65")
    sampling.add_argument("--level", default="II", help="inspection level: S1 to S4, I, II, III (II)")
    severities = ("normal", "tightened", "reduced")
    sampling.add_argument("--severity", choices=severities, default="normal", help="(normal)")
    sampling.add_argument("--double", action="store_true", help="plan and curve: of two samples, where there is one")
    sampling.add_argument("--limiting-quality", metavar="PERCENT", help="a c = 0 plan for it instead of an AQL")
    sampling.add_argument("--risk", default="0.10", help="with --limiting-quality or --bad: the consumer's risk (0.10)")
    sampling.add_argument("--sample-size", type=count, help="curve: of this plan, with --accept")
    sampling.add_argument("--accept", type=int, help="curve: accept number")
    sampling.add_argument(
        "--variables", choices=("s", "sigma"), help="by variables (Z1.9): spread from the sample, or known"
    )
    sampling.add_argument("--good", type=float, metavar="PERCENT", help="with --variables and --bad, instead of --aql")
    sampling.add_argument("--producer-risk", type=float, default=0.05, help="with --good: refused so often (0.05)")
    sampling.add_argument("--bad", type=float, metavar="PERCENT", help="accepted at most --risk of the time")
    sampling.add_argument("--values", type=float, nargs="+", help="judge: what was measured")
    sampling.add_argument("--lower", type=float, help="judge: lower specification limit")
    sampling.add_argument("--upper", type=float, help="judge: upper specification limit")
    sampling.add_argument("--aql-lower", metavar="AQL", help="judge: of the lower limit, where each has its own")
    sampling.add_argument("--aql-upper", metavar="AQL", help="judge: of the upper limit")
    sampling.add_argument("--sigma", type=float, help="judge: the known standard deviation")
    spc = add("spc", "control charts, run rules and capability of the numbers in a CSV file")
    spc.add_argument("file", help="one subgroup, value, or count and size a line; - for standard input")
    spc.add_argument("--chart", choices=("xbar-r", "xbar-s", "i-mr", "p", "np", "c", "u"), required=True)
    spc.add_argument("--rules", choices=("nelson", "western-electric", "none"), default="nelson", help="(nelson)")
    spc.add_argument("--baseline", type=count, help="how many of the first points set the limits (all)")
    spc.add_argument("--lsl", type=float, help="lower specification limit, for capability")
    spc.add_argument("--usl", type=float, help="upper specification limit, for capability")
    from api.cli.keys import add_words as add_key_words

    add_key_words(add("keys", "list API keys, add one for a person or a system, rotate or revoke one"))
    config = add("config", "show the settings in force, secrets masked")
    config.add_argument("action", choices=("show",))
    return root


#: Which function answers which word: its module in this room, and its name there.
_ANSWERS = {
    "up": "up.up", "web": "local.web", "worker": "local.worker", "clock": "local.clock", "migrate": "local.migrate",
    "demo": "remote.demo", "submit": "submit.submit", "lot": "remote.lot", "deliveries": "remote.deliveries",
    "targets": "targets.targets", "reconcile": "reconcile.reconcile", "tasks": "tasks.tasks",
    "webhooks": "webhooks.webhooks", "trace": "trace.trace", "recall": "recall.recall", "ready": "ready.ready",
    "where": "where.where", "hold": "hold.hold", "operation": "operation.operation",
    "decide": "decide.decide", "concessions": "concessions.concessions",
    "sampling": "sampling.sampling", "spc": "spc.spc", "quality": "quality.quality",
    "reference": "reference.reference", "inbox": "inbox.inbox",
    "pull": "pull.pull",
    "connectors": "connectors.connectors", "verify": "verify.verify", "audit": "audit.audit",
    "rules": "rules.rules", "archive": "archive.archive", "keys": "keys.keys",
    "config": "local.config",
}  # fmt: skip


def commands() -> tuple[str, ...]:
    """Every word."""
    return tuple(_ANSWERS)


def answer(word: str) -> Command:
    """The function that answers ``word``; only its module is imported, for starting takes longer than most answers."""
    module, _, name = _ANSWERS[word].partition(".")
    found: Command = getattr(importlib.import_module(f"api.cli.{module}"), name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the console script ``lotgate``."""
    options = parser().parse_args(arguments)
    try:
        settings = load_settings(os.environ)
        return answer(options.command)(options, settings)
    except Failure as failure:
        sys.stderr.write(f"lotgate: {failure}\n")
        return failure.code
    except LotgateError as error:
        # A driver's words may come in several lines.
        sys.stderr.write(f"lotgate: {' '.join(error.detail.split())}\n")
        return WRONG
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


if __name__ == "__main__":
    # As `python -m api.cli.main` this file is there twice; the commands raise the other one's Failure.
    from api.cli.main import main as run

    sys.exit(run())

"""``lotgate rules``: the words of the command, and what runs on the files here: lint, test, schema, backtest.

What may not enter: what the running service is asked for; that is api/cli/rulesets.py.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.main import DONE, FOUND, Failure, print_json
from engine.settings import Settings

if TYPE_CHECKING:
    from rules.backtest import Report, Tally
    from rules.rulebook import RuleBook

Words = Callable[[str, str], argparse.ArgumentParser]


def add_words(rules: argparse.ArgumentParser, remote: Callable[[argparse.ArgumentParser], None]) -> None:
    """Every ``lotgate rules …``."""
    actions = rules.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=help_, description=help_)
        found.add_argument("--json", action="store_true", help="answer in JSON")
        return found

    _local_words(add)
    _remote_words(add, remote)


def _local_words(add: Words) -> None:
    lint = add("lint", "say what is wrong with rule files, where, and what was probably meant")
    lint.add_argument("directory", nargs="?", help="directory of rule files (LOTGATE_RULES)")
    lint.add_argument("--format", choices=("text", "json", "github", "sarif"), default="text", help="for whom (text)")
    lint.add_argument("--strict", action="store_true", help="warnings too make the exit code 1")
    test = add("test", "run the tests inside rule files")
    test.add_argument("directory", nargs="?", help="directory of rule files (LOTGATE_RULES)")
    test.add_argument("--coverage", action="store_true", help="show which conditions no test has made true or false")
    schema = add("schema", "print the JSON Schema of rule files, for editors")
    schema.add_argument("directory", nargs="?", help="directory whose vocabulary counts (LOTGATE_RULES)")
    schema.add_argument("--vocabulary", action="store_true", help="the schema of vocabulary.yaml instead")
    back = add("backtest", "judge past decisions again: which would change? Writes nothing")
    back.add_argument("--candidate", metavar="DIR", help="directory of rule files (LOTGATE_RULES)")
    back.add_argument("--since", metavar="DAY", help="from this day or instant on (the whole history)")
    back.add_argument("--until", metavar="DAY", help="up to the end of this day, or this instant")
    back.add_argument("--as-of", metavar="DAY", help="day on which effective dates are looked at (when all have begun)")
    back.add_argument("--against", choices=("recorded", "active"), default="recorded",
                      help="compare with what was decided, or with what the active set says (recorded)")  # fmt: skip


def _remote_words(add: Words, remote: Callable[[argparse.ArgumentParser], None]) -> None:
    def step(name: str, help_: str, digest: str | None = "the set: its first digits") -> argparse.ArgumentParser:
        found = add(name, help_)
        if digest is not None:
            found.add_argument("digest", help=digest)
        found.add_argument("--comment", "-m", default="", help="why; kept with the step")
        remote(found)
        return found

    remote(add("list", "list the stored rule sets"))
    show = add("show", "show a stored rule set: its steps, and what stands between it and an approval")
    show.add_argument("digest", nargs="?", default="active", help="the set: its first digits (active)")
    show.add_argument("--to", metavar="DIR", help="write its files into this directory")
    remote(show)
    diff = add("diff", "say in words what is different in a set")
    diff.add_argument("set", nargs="?", help="a stored set, or a directory (LOTGATE_RULES)")
    diff.add_argument("--against", default="active", help="the stored set it is compared with (active)")
    remote(diff)
    stage = step("stage", "store rule files as a set, to be approved", None)
    stage.add_argument("directory", nargs="?", help="directory of rule files (LOTGATE_RULES)")
    step("approve", "approve a set that somebody else staged")
    activate = step("activate", "put an approved set in force")
    activate.add_argument("--at", metavar="DAY", help="from this day or instant on (now)")
    step("withdraw", "take a set back: its approval, and an activation that has not come")
    step("rollback", "put the set before the present one in force again", None)


def rules(options: argparse.Namespace, settings: Settings) -> int:
    """Answer one of them."""
    from api.cli import rulesets

    actions = {
        "lint": lint,
        "test": test,
        "schema": schema,
        "backtest": backtest,
        "list": rulesets.overview,
        "show": rulesets.show,
        "diff": rulesets.diff,
        "stage": rulesets.stage,
        "approve": rulesets.approve,
        "activate": rulesets.activate,
        "withdraw": rulesets.withdraw,
        "rollback": rulesets.roll_back,
    }
    return actions[options.action](options, settings)


# -- on the files here -------------------------------------------------------------------------------------------


def directory_of(name: str | None, settings: Settings) -> Path:
    """The directory that is meant; raises Failure when it is none."""
    directory = Path(name) if name else settings.rules
    if not directory.is_dir():
        raise Failure(f"there is no directory {directory}")
    return directory


def load(directory: Path) -> "RuleBook":
    """The rules in ``directory``; raises Failure with every mistake shown in its line."""
    from rules.findings import RulePackError
    from rules.lint import formats
    from rules.lint.remark import of_finding
    from rules.rulebook import RuleBook

    try:
        return RuleBook.load(directory)
    except RulePackError as error:
        remarks = [of_finding(finding) for finding in error.findings]
        words = formats.text(remarks, _sources(directory))
        raise Failure(f"the rule files in {directory} cannot be used:\n{words}", FOUND) from None


def _sources(directory: Path) -> dict[str, str]:
    """Texts for excerpts, whatever state the files are in."""
    from rules.rulebook import SUFFIXES

    found = {}
    for path in directory.rglob("*"):
        if path.suffix in SUFFIXES and path.is_file():
            found[path.relative_to(directory).as_posix()] = path.read_bytes().decode("utf-8-sig", "replace")
    return found


def lint(options: argparse.Namespace, settings: Settings) -> int:
    """Every mistake, then what every check has to say."""
    from rules.findings import RulePackError
    from rules.lint import formats
    from rules.lint.examination import remarks
    from rules.lint.remark import Level, Remark, of_finding
    from rules.rulebook import RuleBook

    directory = directory_of(options.directory, settings)
    found: tuple[Remark, ...]
    try:
        book = RuleBook.load(directory)
        found, about = remarks(book), f"{len(book.rules.rules)} rules, {book.digest}"
    except RulePackError as error:
        found, about = tuple(of_finding(f) for f in error.findings), "the files cannot be used"
    errors = sum(r.level is Level.ERROR for r in found)
    written = "json" if options.json else options.format
    if written == "text":
        if found:
            print(formats.text(found, _sources(directory)))
        print(f"{directory}: {_number(errors, 'error')}, {_number(len(found) - errors, 'warning')}; {about}")
    else:
        print(_formatted(written, found, directory))
    return FOUND if errors or (options.strict and found) else DONE


def _formatted(written: str, found: tuple[Any, ...], directory: Path) -> str:
    from importlib.metadata import version

    from rules.lint import formats

    if written == "json":
        return formats.as_json(found)
    if written == "github":
        return formats.github(found, str(directory))
    return formats.sarif(found, str(directory), version("lotgate"))


def _number(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def test(options: argparse.Namespace, settings: Settings) -> int:
    """The tests inside the files; with ``--coverage`` what they have shown."""
    from rules.coverage import run_with_coverage, words

    report, coverage = run_with_coverage(load(directory_of(options.directory, settings)))
    if options.json:
        print_json({"report": report, "coverage": coverage} if options.coverage else report)
    else:
        print(report)
        if options.coverage:
            print(words(coverage))
    return DONE if report.passed else FOUND


def schema(options: argparse.Namespace, settings: Settings) -> int:
    """The schema, in terms of the vocabulary of the directory."""
    from rules.schema import rule_file_schema, vocabulary_schema

    if options.vocabulary:
        print_json(vocabulary_schema())
    else:
        print_json(rule_file_schema(load(directory_of(options.directory, settings)).vocabulary))
    return DONE


# -- history -----------------------------------------------------------------------------------------------------


def backtest(options: argparse.Namespace, settings: Settings) -> int:
    """Past decisions, judged again by the candidate."""
    from zoneinfo import ZoneInfo

    from api.cli.local import existing_store
    from engine.backtesting import backtest as judge_again
    from engine.clock import system_clock
    from engine.rulesets import RuleSets

    candidate = load(directory_of(options.candidate, settings))
    zone = ZoneInfo(settings.timezone)
    since, until = _bound(options.since, "--since", zone, time()), _bound(options.until, "--until", zone, time.max)
    as_of = None if options.as_of is None else _day(options.as_of, "--as-of")
    store = existing_store(settings)
    against = None
    if options.against == "active":
        sets = RuleSets(store, system_clock)
        against = sets.book(sets.find("active"))
    progress = _Progress(store, since, quiet=options.json or not sys.stderr.isatty())
    report = judge_again(
        store, zone, candidate, system_clock().astimezone(zone).date(), against=against, since=since, until=until,
        as_of=as_of, progress=progress.reached,
    )  # fmt: skip
    progress.end()
    store.close()
    print_json(report) if options.json else _print_report(report)
    return FOUND if report.changed else DONE


def _day(text: str, option: str) -> Any:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 (a day, without an hour)
    except ValueError:
        raise Failure(f"{option} {text!r} is not a day; write for example 2026-01-31") from None


def _bound(text: str | None, option: str, zone: Any, at: time) -> str | None:
    """The instant of a day's beginning or end, or the instant itself."""
    from engine.clock import instant, parse_instant

    if text is None:
        return None
    if len(text) == 10:
        return instant(datetime.combine(_day(text, option), at, zone))
    try:
        return instant(parse_instant(text))
    except ValueError as error:
        raise Failure(f"{option} {text!r} is neither a day nor an instant with a zone: {error}") from None


class _Progress:
    """A bar on standard error, where somebody looks."""

    def __init__(self, store: Any, since: str | None, *, quiet: bool) -> None:
        self._bar: Any = None
        if quiet:
            return
        from rich.console import Console
        from rich.progress import Progress

        from engine.history import extent

        self._first, last = extent(store, since)
        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("journal", total=max(1, last - self._first))
        self._bar.start()

    def reached(self, position: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=position - self._first)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _print_report(report: "Report") -> None:
    dates = f"with its effective dates of {report.as_of}"
    print(f"{report.judged} decisions judged again by {report.candidate[:19]}…, {dates}.")
    if report.not_in_force:
        print(f"Not in force on that day, and left out: {', '.join(report.not_in_force)}.")
    if not report.changed:
        print(f"None would change; {report.other_reasons} for other reasons.")
        return
    print(
        f"{report.changed} would change: {report.stricter} stricter, {report.looser} looser; "
        f"{report.other_reasons} the same for other reasons."
    )
    _print_tallies("gate", report.by_gate)
    _print_tallies("rule", report.by_rule)
    _print_tallies("item", report.by_item)
    _print_tallies("supplier", report.by_supplier)
    print("\nExamples")
    for e in report.examples:
        print(f"  {e.rule}: lot {e.lot} version {e.version}, {e.at[:19]}Z, gate {e.gate}: {e.before} → {e.after}")
        if e.message:
            print(f"      {e.message}")


def _print_tallies(what: str, tallies: "tuple[Tally, ...]") -> None:
    print(f"\nby {what:<40} stricter   looser")
    for tally in tallies[:20]:
        print(f"   {tally.name:<40} {tally.stricter:>8} {tally.looser:>8}")
    if len(tallies) > 20:
        print(f"   and {len(tallies) - 20} more")

"""``lotgate archive``: what leaves the journal, what is there, whether it holds, and back.

Works on the database and the files; the service need not run, and may. What may not enter: what is archived
(engine/archive.py), what a segment is (engine/segments.py).
"""

import argparse
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from api.cli.main import DONE, FOUND, WRONG, Failure, count, counted, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from engine.archive import Archiver
    from engine.segment_proof import SegmentReport
    from engine.settings import Settings
    from engine.store.opening import Store

    Keys = Mapping[str, Ed25519PublicKey]

#: What `run` looks back, unless somebody says otherwise: a year.
USUAL_DAYS = 365


def add_words(archive: argparse.ArgumentParser) -> None:
    """What can be said after ``lotgate archive``."""
    archive.add_argument("action", choices=("run", "list", "verify", "restore"))
    archive.add_argument("segment", nargs="*", help="verify: files from anywhere; restore: how the name begins")
    archive.add_argument("--dry-run", action="store_true", help="run: say what would go, and why others stay")
    archive.add_argument("--closed-before", metavar="DATE", help="run: lots that are closed, and unchanged since then")
    archive.add_argument("--older-than", type=count, metavar="DAYS", help=f"run: the same in days ({USUAL_DAYS})")
    archive.add_argument("--limit", type=count, help="run: so many lots at most (10000)")
    archive.add_argument("--lot", help="restore: only this lot")
    archive.add_argument("--key", metavar="FILE", help="verify: a file with the public key that sealed them")


def archive(options: argparse.Namespace, settings: "Settings") -> int:
    """Archive lots, list segments, verify them, bring lots back; 1 when something does not hold."""
    if options.action == "verify" and options.segment:
        return _verify_files(options, [Path(name) for name in options.segment], _keys(options))
    if options.action == "restore" and (len(options.segment) != 1) == (options.lot is None):
        raise Failure("say which segment (`lotgate archive list`), or --lot")
    from api.cli.local import existing_store
    from engine.archive import Archiver
    from engine.checkpoints import signer_of
    from engine.clock import system_clock

    store = existing_store(settings)
    try:
        archiver = Archiver(store, system_clock, signer_of(settings))
        if options.action == "run":
            return _run(options, archiver, settings)
        if options.action == "list":
            return _list(options, archiver)
        if options.action == "restore":
            return _restore(options, archiver)
        return _verify_all(options, archiver, store, settings)
    except OSError as error:
        raise Failure(f"the archive in {settings.archive_folder} cannot be written: {error}") from None
    finally:
        store.close()


def _before(options: argparse.Namespace, settings: "Settings", now: datetime) -> datetime:
    if options.closed_before and options.older_than:
        raise Failure("say --closed-before or --older-than, not both")
    if options.closed_before is None:
        return now - timedelta(days=options.older_than or USUAL_DAYS)
    try:
        day = date.fromisoformat(options.closed_before)
    except ValueError:
        raise Failure(f"--closed-before is {options.closed_before!r}; expected a day such as 2026-01-31") from None
    return datetime.combine(day, time(), ZoneInfo(settings.timezone))


def _run(options: argparse.Namespace, archiver: "Archiver", settings: "Settings") -> int:
    from engine.archive import USUAL_LIMIT, WHY, check_age
    from engine.clock import system_clock

    now = system_clock()
    before = check_age(_before(options, settings, now), now)
    report = archiver.run(before, "lotgate archive", limit=options.limit or USUAL_LIMIT, dry_run=options.dry_run)
    if options.json:
        print_json(report)
        return DONE
    if options.dry_run:
        lots = counted(report.eligible, "lot", "lots")
        print(f"{lots} of {report.looked_at} would be archived (before {before[:10]})")
    else:
        print(
            f"{counted(report.lots, 'lot', 'lots')}, {counted(report.entries, 'entry', 'entries')} archived (before"
            f" {before[:10]}), {report.bytes} bytes in {counted(len(report.segments), 'segment', 'segments')}"
        )
    for why, number in sorted(report.kept.items(), key=lambda one: -one[1]):
        print(f"{number:>8} stay: {WHY[why]}")
    return DONE


def _list(options: argparse.Namespace, archiver: "Archiver") -> int:
    state = archiver.state()
    if options.json:
        print_json(state)
        return DONE
    for one in state.segments:
        line = one.segment
        lots = f"{line.indexed} lots" if line.indexed == line.lots else f"{line.indexed} of {line.lots} lots"
        of = f"{line.first_at[:10]} to {line.last_at[:10]}"
        print(f"{line.name[:16]}  {of}  {lots}, {line.entries} entries, {line.bytes} bytes")
        if one.problem:
            print(f"    {one.problem}")
    for name in state.unknown:
        print(f"{name}  not known here: what is in it is in the journal, too; it may be deleted")
    segments, lots = counted(len(state.segments), "segment", "segments"), counted(state.lots, "lot", "lots")
    print(f"{segments}, {lots}, {state.bytes} bytes in {state.folder}")
    return FOUND if any(one.problem for one in state.segments) else DONE


def _restore(options: argparse.Namespace, archiver: "Archiver") -> int:
    name = options.segment[0] if options.segment else None
    lots, entries = archiver.restore(segment=name, lot=options.lot)
    if options.json:
        print_json({"lots": lots, "entries": entries})
    else:
        print(f"{counted(lots, 'lot', 'lots')}, {counted(entries, 'entry', 'entries')} are back in the journal")
    return DONE


def _verify_all(options: argparse.Namespace, archiver: "Archiver", store: "Store", settings: "Settings") -> int:
    """Every segment that the index has; one that is missing is said, too."""
    from engine.checkpoints import known_keys
    from engine.segments import path_of

    state = archiver.state()
    files = [path_of(store.archive, one.segment.name) for one in state.segments]
    return _verify_files(options, files, _keys(options) or known_keys(settings))


def _keys(options: argparse.Namespace) -> "Keys":
    """The public key that was named, by its id."""
    from engine.checkpoints import key_id_of, read_public

    if not options.key:
        return {}
    try:
        key = read_public(Path(options.key).read_bytes())
    except OSError as error:
        raise Failure(str(error), WRONG) from None
    except ValueError as error:
        raise Failure(f"{options.key} holds no public key of Lotgate: {error}", WRONG) from None
    return {key_id_of(key): key}


def _verify_files(options: argparse.Namespace, files: list[Path], keys: "Keys") -> int:
    reports = {str(file): _verified(file, keys) for file in files}
    wrong = sum(1 for report in reports.values() if isinstance(report, str) or report.problems)
    if options.json:
        print_json({name: {"problems": [r]} if isinstance(r, str) else r for name, r in reports.items()})
        return FOUND if wrong else DONE
    for name, report in reports.items():
        if isinstance(report, str):
            print(f"{name}: {report}")
            continue
        for problem in report.problems:
            print(f"{name}: {problem}")
        for note in report.notes:
            print(f"note: {Path(name).name[:16]}: {note}")
    sound = [report for report in reports.values() if not isinstance(report, str)]
    lots, entries = sum(report.lots for report in sound), sum(report.entries for report in sound)
    words = f"{wrong} broken" if wrong else "everything holds"
    print(f"{counted(len(files), 'segment', 'segments')}, {counted(lots, 'lot', 'lots')}, "
          f"{counted(entries, 'entry', 'entries')}: {words}")  # fmt: skip
    return FOUND if wrong else DONE


def _verified(file: Path, keys: "Keys") -> "SegmentReport | str":
    from engine.segment_proof import verify_segment
    from engine.segments import SegmentInvalid

    try:
        return verify_segment(file, keys)
    except SegmentInvalid as error:
        return f"it is no segment of Lotgate: {error}"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"

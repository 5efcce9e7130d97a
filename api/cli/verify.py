"""``lotgate verify``: is the record in this database the one that was written, and the one that was signed?

What may not enter: what verification looks at (engine/journal.py, engine/checkpoint_verification.py).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from api.cli.local import existing_store
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.checkpoint_verification import CheckpointReport
    from engine.installation_checkpoints import InstallationCheckpoint
    from engine.store.opening import Store


def verify(options: argparse.Namespace, settings: Settings) -> int:
    """The journal of every lot, or of one, the rule sets that judged, and the checkpoints over all of it."""
    from engine.clock import system_clock
    from engine.journal import verify as verify_journals
    from engine.readiness_record import ReadinessRecords
    from engine.rulesets import RuleSets
    from engine.store.reading import Reading

    if options.lot is not None and options.checkpoint:
        raise Failure("a checkpoint is of all lots: leave out --lot", WRONG)
    kept = [read_checkpoint(name) for name in options.checkpoint or ()]
    pems = [_key(name) for name in options.key or ()]
    store = existing_store(settings)
    signed = None if options.lot is not None else _signed(store, settings, kept, pems)
    report = verify_journals(Reading(store).journals(options.lot), _progress("lots", 1_000))
    wrong = RuleSets(store, system_clock).verify() if options.lot is None else []
    wrong += [] if options.lot is not None else ReadinessRecords(store, system_clock).breaks()
    store.close()
    if options.lot is not None and report.lots == 0:
        raise Failure(f"there is no lot {options.lot}", FOUND)
    if options.json:
        print_json({"lots": report.lots, "entries": report.entries, "breaks": report.breaks, "rule_sets": wrong,
                    "checkpoints": signed})  # fmt: skip
    else:
        for broken in report.breaks:
            print(f"lot {broken.lot}, version {broken.version}: {broken.problem}")
        for words in [*wrong, *(signed.problems if signed else ())]:
            print(words)
        if signed is not None:
            _say(signed)
        words = "every chain holds and every fold equals its lot" if report.intact else "see above"
        print(f"{counted(report.lots, 'lot', 'lots')}, {counted(report.entries, 'entry', 'entries')}: {words}.")
    whole = report.intact and not wrong and not (signed and signed.problems)
    return DONE if whole else FOUND


def _say(signed: "CheckpointReport") -> None:
    kept = f", and {counted(signed.kept, 'that was kept', 'that were kept')}" if signed.kept else ""
    words = "see above" if signed.problems else "every entry up to the newest is as it was signed"
    if signed.checkpoints or signed.problems:
        over = f" over {counted(signed.entries, 'entry', 'entries')}"
        print(f"{counted(signed.checkpoints, 'checkpoint', 'checkpoints')}{over}{kept}: {words}.")
    for note in signed.notes:
        print(f"note: {note}")


def _signed(
    store: "Store", settings: Settings, kept: "Sequence[InstallationCheckpoint]", pems: list[bytes]
) -> "CheckpointReport":
    from engine.checkpoint_verification import verify_checkpoints
    from engine.checkpoints import known_keys

    try:
        keys = known_keys(settings, pems)
    except ValueError as error:
        raise Failure(f"--key names a file without a public key of Lotgate: {error}", WRONG) from None
    return verify_checkpoints(store, keys, kept, _progress("entries", 20_000))


def _key(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}", WRONG) from None


def read_checkpoint(name: str) -> "InstallationCheckpoint":
    """A checkpoint of everything that somebody kept. Raises Failure."""
    from engine.installation_checkpoints import FORMAT, InstallationCheckpoint

    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}", WRONG) from None
    try:
        found = msgspec.json.decode(content, type=InstallationCheckpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(
            f"{name} is no checkpoint of everything ({FORMAT}): {error}; that of one lot is held against its archive:"
            " lotgate audit verify ARCHIVE --checkpoint FILE", WRONG,
        ) from None  # fmt: skip
    return found


def _progress(what: str, every: int) -> Callable[[int], None]:
    """Shows how far it is, to people."""
    told = 0

    def show(number: int) -> None:
        nonlocal told
        if number - told >= every and sys.stderr.isatty():
            told = number
            sys.stderr.write(f"\r{number} {what}\r")

    return show

"""``lotgate audit``: the evidence of a lot as one archive, and its verification by whoever has only the archive."""

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.audit import MAX_BYTES, ArchiveInvalid, verify_archive
from engine.checkpoints import Checkpoint, key_id_of, read_public
from engine.installation_checkpoints import InstallationCheckpoint
from engine.settings import Settings


def audit(options: argparse.Namespace, settings: Settings) -> int:
    """Export a lot, sign it or everything, show the public key, or verify an archive; 1 when that does not hold."""
    if options.action not in ("key", "checkpoint") and not options.what:
        raise Failure("say which archive" if options.action == "verify" else "say which lot", WRONG)
    if options.action == "verify":
        return _verify(options)
    client = Client(options, settings)
    if options.action == "key":
        return _put(options, client.json(client.call("GET", "/v1/checkpoints/key"))["public_key"].rstrip())
    if options.action == "checkpoint" and not options.what:
        return _put(options, json.dumps(_everything(client), indent=2))
    if options.action == "checkpoint":
        found = client.json(client.call("GET", f"/v1/lots/{quote(options.what, safe='')}/checkpoint"))
        return _put(options, json.dumps(found, indent=2))
    answer = client.call("GET", f"/v1/lots/{quote(options.what, safe='')}/audit")
    if answer.status_code != 200:
        client.json(answer)
    file = Path(options.out or f"{quote(options.what, safe='')}.zip")
    try:
        file.write_bytes(answer.content)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error}", WRONG) from None
    print(f"{file}: {len(answer.content)} bytes")
    return DONE


def _everything(client: Client) -> Any:
    """A checkpoint of everything, when it is made."""
    while True:
        answer = client.call("POST", "/v1/checkpoints")
        found = client.json(answer)
        if answer.status_code != 202:
            return found
        sys.stderr.write("a checkpoint over a long history is being made …\n")
        time.sleep(1.0)


def _put(options: argparse.Namespace, text: str) -> int:
    if not options.out:
        print(text)
        return DONE
    try:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{options.out} cannot be written: {error}", WRONG) from None
    print(f"{options.out} written")
    return DONE


def _kept(file: str) -> Checkpoint | InstallationCheckpoint:
    content = Path(file).read_bytes()
    try:
        # Which of the two it is shows by what it has; what is neither is named as the one of a lot.
        with suppress(msgspec.ValidationError):
            return msgspec.json.decode(content, type=InstallationCheckpoint)
        return msgspec.json.decode(content, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{file} is no checkpoint: {error}", WRONG) from None


def _verify(options: argparse.Namespace) -> int:
    file = Path(options.what)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise Failure(f"{file} is no archive of Lotgate: it is larger than any", WRONG)
        key = Path(options.key).read_bytes() if options.key else None
        kept = [_kept(name) for name in options.checkpoint or ()]
        of_lot = [one for one in kept if isinstance(one, Checkpoint)]
        everything = [one for one in kept if isinstance(one, InstallationCheckpoint)]
        report = verify_archive(file.read_bytes(), key, of_lot, everything)
        if options.certificate and report.certificate is not None:
            Path(options.certificate).write_text(report.certificate, encoding="utf-8")
    except OSError as error:
        raise Failure(str(error), WRONG) from None
    except ValueError as error:
        raise Failure(f"{options.key} holds no public key of Lotgate: {error}", WRONG) from None
    except ArchiveInvalid as error:
        raise Failure(f"{options.what} is no archive of Lotgate: {error}", WRONG) from None
    if options.json:
        print_json(report)
    else:
        for problem in report.problems:
            print(f"{options.what}: {problem}")
        for note in report.notes:
            print(f"note: {note}")
        entries, files = counted(report.entries, "entry", "entries"), counted(report.files, "file", "files")
        print(f"lot {report.lot}: {entries}, {files}, " + ("broken" if report.problems else "everything holds"))
        print(f"head {report.head}")
        if report.included and not report.problems:
            newest = "" if report.checkpoint == report.newest_checkpoint else f" (newest: {report.newest_checkpoint})"
            print(f"in checkpoint {report.checkpoint} of everything{newest}, up to version {report.included}")
        if key is not None and not report.problems:
            print(f"signed by the key {key_id_of(read_public(key))}")
    return FOUND if report.problems else DONE

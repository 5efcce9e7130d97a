"""``lotgate audit``: the evidence of a lot as one archive, and its verification by whoever has only the archive."""

import argparse
from pathlib import Path
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.audit import MAX_BYTES, ArchiveInvalid, verify_archive
from engine.settings import Settings


def audit(options: argparse.Namespace, settings: Settings) -> int:
    """Export a lot, or verify an archive; 1 when something in it does not hold."""
    if options.action == "verify":
        return _verify(options)
    client = Client(options, settings)
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


def _verify(options: argparse.Namespace) -> int:
    file = Path(options.what)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise Failure(f"{file} is no archive of Lotgate: it is larger than any", WRONG)
        report = verify_archive(file.read_bytes())
        if options.certificate and report.certificate is not None:
            Path(options.certificate).write_text(report.certificate, encoding="utf-8")
    except OSError as error:
        raise Failure(str(error), WRONG) from None
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
    return FOUND if report.problems else DONE

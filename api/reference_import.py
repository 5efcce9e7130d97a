"""Imports of reference data: a file of many records, kept a hundred at a time, answered for row by row.

The body is put aside on disk while it comes, so that memory is bounded however long it is. A reader that takes
NDJSON is answered while rows are kept: every row that was refused, how far everything is kept, and the sums in the
last line; whoever sees no last line goes on behind the line that is kept. What may not enter: what rows say
(api/reference_rows.py), what a record means (engine/reference.py).
"""

import asyncio
import itertools
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import IO, Any

import msgspec
from litestar import Request, Response
from litestar.response import Stream
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from api.body import Gone, Patience
from api.door import Visit
from api.pages import json_answer
from api.problems import Refused
from api.reference_rows import ENCODINGS, Read, records_of
from engine.errors import EventInvalid, LotgateError
from engine.reference import Affected, References, Wanted

log = logging.getLogger("lotgate.api")

#: Records of one import that is answered in one piece.
MAX_LINES = 5_000
#: Bytes of an import, and of those what is kept in memory.
MAX_IMPORT_BYTES, IN_MEMORY_BYTES = 256 * 1024 * 1024, 1024 * 1024
#: Records that are kept in one transaction: others who write wait no longer than for these.
TOGETHER = 100
#: Rows between two lines that say how far everything is kept.
TOLD_EVERY = 1_000
MEDIA_TYPES = ("application/x-ndjson", "text/csv")
_encode = msgspec.json.Encoder().encode


class LineOutcome(Struct, frozen=True, omit_defaults=True):
    """What became of one line."""

    #: From 1; of CSV the header is one. ``kept``: up to here everything was gone through.
    line: int
    #: created, unchanged, checked, refused; in a stream also kept, and stopped (the database does not answer)
    outcome: str
    key: str | None = None
    revision: int | None = None
    detail: str = ""
    pointer: str = ""
    #: Of a dry run: what the change would touch.
    affects: Affected | None = None


class Imported(Struct, frozen=True):
    """What became of every line, in order. A bad line spoils only itself."""

    created: int
    unchanged: int
    #: Of a dry run.
    checked: int
    refused: int
    #: In a stream none: they came before.
    lines: list[LineOutcome]


class Import:
    """One import: who wants what kept, and how."""

    def __init__(self, references: References, kind: str, by: str, *, trial: bool, after: int) -> None:
        self._references = references
        self._kind = kind
        self._by = by
        self._trial = trial
        self._after = after

    async def answer(self, request: Request[Any, Any, Any], visit: Visit, patience: Patience) -> Response[Any]:
        """Read the body, keep what it says, and answer for it.

        Raises Refused and EventInvalid before anything is kept.
        """
        media_type, encoding = _media_type(visit)
        file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - a stream closes it at its end
        try:
            await _put_aside(request, file, patience, visit.headers.get(b"content-length"))
            records = await asyncio.to_thread(records_of, self._kind, file, media_type, encoding, self._after)
            if b"application/x-ndjson" in visit.headers.get(b"accept", b""):
                return Stream(self._stream(file, iter(records)), media_type="application/x-ndjson", status_code=200)
            found = await asyncio.to_thread(self._whole, records)
        except BaseException:
            file.close()
            raise
        file.close()
        return json_answer(found)

    def _whole(self, records: Iterable[Read]) -> Imported:
        listed = list(itertools.islice(records, MAX_LINES + 1))
        if len(listed) > MAX_LINES:
            words = f"An import that is answered in one piece has at most {MAX_LINES} records; this one has more."
            raise EventInvalid(f"{words} Take application/x-ndjson as the answer, which has no such limit.")
        lines = [line for part in _parts(iter(listed)) for line in self._keep(part)]
        return _sums(Counter(line.outcome for line in lines), lines)

    async def _stream(self, file: IO[bytes], records: Iterator[Read]) -> AsyncIterator[bytes]:
        counts: Counter[str] = Counter()
        kept = told = self._after
        try:
            while part := await asyncio.to_thread(lambda: list(itertools.islice(records, TOGETHER))):
                lines = await asyncio.to_thread(self._keep, part)
                counts.update(line.outcome for line in lines)
                kept = max(part[-1].until, kept)
                shown = [line for line in lines if line.outcome == "refused" or line.affects is not None]
                if kept >= told + TOLD_EVERY:
                    shown, told = [*shown, LineOutcome(kept, "kept")], kept
                if shown:
                    yield b"".join(_encode(line) + b"\n" for line in shown)
            yield _encode(_sums(counts, [])) + b"\n"
        except SQLAlchemyError:
            log.exception("an import of %s stopped behind line %d", self._kind, kept)
            words = f"The database does not answer; everything up to line {kept} is kept. Go on with after_line={kept}."
            yield _encode(LineOutcome(kept, "stopped", detail=words)) + b"\n"
        finally:
            file.close()

    def _keep(self, part: list[Read]) -> list[LineOutcome]:
        wanted = [
            (r.record.key, Wanted(r.record.effective_from, r.record.content, r.record.effective_until))
            for r in part
            if r.record is not None
        ]
        results = iter(self._references.put_many(self._kind, wanted, self._by, dry_run=self._trial) if wanted else ())
        found = []
        for read in part:
            if read.record is None:
                found.append(LineOutcome(read.line, "refused", read.key, None, read.detail, read.pointer))
                continue
            kept, key = next(results), read.record.key
            if isinstance(kept, LotgateError):
                pointer = getattr(kept, "pointer", "")
                found.append(LineOutcome(read.line, "refused", key, None, kept.detail, pointer))
            else:
                found.append(LineOutcome(read.line, kept.outcome, key, kept.record.revision, affects=kept.affects))
        return found


def _sums(counts: Counter[str], lines: list[LineOutcome]) -> Imported:
    return Imported(counts["created"], counts["unchanged"], counts["checked"], counts["refused"], lines)


def _parts(records: Iterator[Read]) -> Iterator[list[Read]]:
    while part := list(itertools.islice(records, TOGETHER)):
        yield part


def _media_type(visit: Visit) -> tuple[str, str]:
    """What the body is, and how its text is written."""
    said, *more = visit.headers.get(b"content-type", b"").decode("latin-1").lower().split(";")
    if said.strip() not in MEDIA_TYPES:
        raise Refused("unsupported-media-type", "The body is application/x-ndjson, a JSON object a line, or text/csv.")
    stated = [part.strip().removeprefix("charset=").strip('"') for part in more if part.strip().startswith("charset=")]
    encoding = stated[0] if stated else "utf-8"
    if encoding not in ENCODINGS:
        raise Refused("unsupported-media-type", f"The charset is one of {', '.join(ENCODINGS)}.")
    return said.strip(), encoding


async def _put_aside(
    request: Request[Any, Any, Any], file: IO[bytes], patience: Patience, announced: bytes | None
) -> None:
    """The body onto the disk, piece by piece; raises Refused as soon as it is clear that it is too long."""
    size = int(announced[:19]) if announced is not None and announced.isdigit() else 0
    more = True
    while more:
        if size > MAX_IMPORT_BYTES:
            words = f"The body is longer than {MAX_IMPORT_BYTES} bytes, the most that is read here."
            raise Refused("body-too-large", words)
        message = await patience.wait(request.receive())
        if message["type"] != "http.request":
            raise Gone
        more = message["more_body"]
        await asyncio.to_thread(file.write, message["body"])
        size = max(size, file.tell())
    file.seek(0)

"""Checkpoints of the installation by time: made when they are due, and written where somebody else keeps them.

A checkpoint is worth most in hands that cannot write the database. In ``LOTGATE_CHECKPOINT_DIR`` (a share, a disk that
is written once) each becomes a file; one that says another thing than the database is somebody's business.
What may not enter: what is signed.
"""

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec

from engine.errors import ArchiveUnavailable, LotgateError
from engine.installation_checkpoints import InstallationCheckpoint, InstallationCheckpoints, JournalBehind
from engine.tasks import Tasks

log = logging.getLogger("lotgate.clock")

#: Checkpoints that one look writes or compares.
_ROUND = 500
#: What a task is about where segments of the archive keep a checkpoint from being made.
_SUBJECT = "checkpoints"


class NotKept(LotgateError):
    """A checkpoint could not be written where it is to be kept."""

    code = "checkpoint-not-kept"
    title = "A checkpoint could not be kept"


class Keeper:
    """Makes what is due, and hands it out; for one thread."""

    def __init__(
        self, checkpoints: InstallationCheckpoints, tasks: Tasks, hours: float, folder: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._checkpoints = checkpoints
        self._tasks = tasks
        self._every = timedelta(hours=hours)
        self._folder = Path(folder) if folder else None
        self._stopped = stopped
        #: Up to this number the files were looked at.
        self._looked = 0
        #: Is there to be a task, as far as this process knows?
        self._trouble = True

    def look(self) -> None:
        """One round. Raises NotKept, JournalBehind and ArchiveUnavailable; each is told people as a task, too."""
        try:
            self._make_what_is_due()
        finally:
            # What is made already is handed out whatever keeps the next one from being made.
            if self._folder is not None:
                self._hand_out_into(self._folder)

    def _make_what_is_due(self) -> None:
        try:
            if self._checkpoints.is_due(self._every):
                self._make()
                self._tasks.close_about("archive-failing", "the segments can be read again", subject=_SUBJECT)
        except JournalBehind as error:
            self._tasks.open_once("journal-behind", "journal", error.detail)
            raise
        except ArchiveUnavailable as error:
            self._tasks.open_once("archive-failing", _SUBJECT, f"No checkpoint can be made. {error.detail}")
            raise

    def _hand_out_into(self, folder: Path) -> None:
        try:
            self._hand_out(folder)
        except OSError as error:
            self._trouble = True
            words = f"Checkpoints cannot be kept in {folder} (LOTGATE_CHECKPOINT_DIR): {error.strerror}."
            self._tasks.open_once("checkpoint-not-kept", str(folder), words)
            raise NotKept(words) from None
        if self._trouble:
            self._tasks.close_about("checkpoint-not-kept", "checkpoints are kept again", subject=str(folder))
            self._trouble = False

    def _make(self) -> None:
        began = time.monotonic()

        def going_on(_: int) -> None:
            if self._stopped():
                raise InterruptedError("the clock ends; the next one makes it")

        try:
            made = self._checkpoints.make(going_on)
        except InterruptedError:
            return
        if made is not None and made.new:
            one, seconds = made.checkpoint, time.monotonic() - began
            log.info("checkpoint %d was signed over %d entries in %.1f s", one.number, one.entries, seconds)

    def _hand_out(self, folder: Path) -> None:
        """Write the files that are not there yet. Raises OSError."""
        newest = self._checkpoints.newest()
        while newest is not None and self._looked < newest.number and not self._stopped():
            upto = min(newest.number, self._looked + _ROUND)
            page = self._checkpoints.page(before=upto + 1, limit=upto - self._looked)
            for one in reversed(page):
                self._put(folder, one)
            self._looked = upto

    def _put(self, folder: Path, one: InstallationCheckpoint) -> None:
        path, content = folder / file_name(one.number), content_of(one)
        if path.exists():
            if path.read_bytes() != content:
                words = (
                    f"{path} was written for checkpoint {one.number}, and the database says something else now: run"
                    f" `lotgate verify --checkpoint {path}`."
                )
                if self._tasks.open_once("checkpoint-contradicted", str(path), words):
                    log.error("%s", words)
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        # Whole before it has its name.
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def file_name(number: int) -> str:
    """Sorts as the numbers do."""
    return f"checkpoint-{number:08}.json"


def content_of(checkpoint: InstallationCheckpoint) -> bytes:
    """A checkpoint as a file."""
    return msgspec.json.format(msgspec.json.encode(checkpoint), indent=2) + b"\n"



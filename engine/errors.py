"""The error tree of the engine, drawn first.

    LotgateError                    code, sentence for people, what to do next
    ├── EventInvalid                the event does not fit the contract (pointer, detail)
    ├── Overloaded                  the queue is full; try again after a while
    ├── StoreUnavailable            nothing was committed; try again after a while
    ├── StoreNotMigrated            the database belongs to another release
    ├── ArchiveUnavailable          what is asked for is in a file of the archive that cannot be read
    ├── HistoryArchived             what is asked for was archived, and is not served from there
    ├── NotFound                    no such lot, event or delivery
    └── SettingInvalid              a setting cannot be used

Every class has a stable ``code``, which is also the last part of the problem ``type`` in HTTP answers.
No error of a library crosses a room's border unmapped.
"""


class LotgateError(Exception):
    """Base of every error that Lotgate raises on purpose."""

    code = "internal-error"
    title = "Something went wrong inside Lotgate"
    status = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EventInvalid(LotgateError):
    """The event does not fit the contract; ``pointer`` is an RFC 6901 JSON pointer into it."""

    code = "event-invalid"
    title = "The event does not fit its schema"
    status = 422

    def __init__(self, detail: str, pointer: str = "", *, malformed: bool = False) -> None:
        super().__init__(detail)
        self.pointer = pointer
        #: True when the bytes are not JSON at all (HTTP 400 rather than 422).
        self.malformed = malformed


class Overloaded(LotgateError):
    """More events wait than the queue may hold; nothing of this one was kept."""

    code = "overloaded"
    title = "More waits than Lotgate accepts"
    status = 503

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(LotgateError):
    """The database did not commit; nothing was kept, the same event can be sent again."""

    code = "store-unavailable"
    title = "The database could not commit"
    status = 503

    def __init__(self, detail: str, retry_after_seconds: int = 2) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class StoreNotMigrated(LotgateError):
    """The database has another schema revision than this release expects; run ``lotgate up`` or ``lotgate migrate``."""

    code = "store-not-migrated"
    title = "The database belongs to another release"
    status = 503


class ArchiveUnavailable(LotgateError):
    """Entries that are asked for are in a segment of the archive that is missing or damaged; it is named."""

    code = "archive-unavailable"
    title = "A file of the archive cannot be read"
    status = 503


class HistoryArchived(LotgateError):
    """What is asked for reaches back into the archive, and this call does not; the message says from when on it can."""

    code = "history-archived"
    title = "That history is in the archive"
    status = 410


class NotFound(LotgateError):
    """There is no such lot, event or delivery."""

    code = "not-found"
    title = "There is nothing here"
    status = 404


class SettingInvalid(LotgateError):
    """A setting cannot be used; the message names the variable, the value and the expected form."""

    code = "setting-invalid"
    title = "A setting cannot be used"
    status = 500

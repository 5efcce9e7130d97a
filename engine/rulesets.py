"""The life of a rule set: stored whole under its digest, staged, approved, activated at an instant, rolled back.

A step is a row that is never changed; what is in force at an instant follows from the rows alone, so that every
process finds the same. A set that does not load, has lint errors or failing tests cannot be approved, and what was
not approved by somebody other than its author cannot be activated. What may not enter: SQL (engine/store/rulesets.py)
and the swap inside a running process (engine/changeover.py).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from engine.clock import Clock, instant
from engine.errors import LotgateError, NotFound
from engine.store import rulesets as sql
from engine.store.opening import Store
from engine.store.rulesets import Step
from rules.findings import Findings, RulePackError
from rules.lint.examination import Examination, examine
from rules.parse import MAX_BYTES as MAX_FILE_BYTES
from rules.parse import read_text
from rules.rulebook import SHIPPED, SUFFIXES, VOCABULARY_FILE, RuleBook, digest_of
from rules.versions import Change, differences

#: Who took the first steps of an installation's first set.
OURSELVES = "lotgate"
STAGED, APPROVED, ACTIVATED, ROLLED_BACK, WITHDRAWN = "staged", "approved", "activated", "rolled_back", "withdrawn"
#: Files of one set, and their size together.
MAX_FILES, MAX_BYTES = 2_000, 10_000_000
#: Compiled sets that are kept at hand.
_KEPT = 8
#: Digits that are enough to name a set.
_SHORTEST = 6


class RuleFilesInvalid(LotgateError):
    """The files are no rule set; carries every finding as (place, sentence)."""

    code = "rule-files-invalid"
    title = "The rule files cannot be used"
    status = 422

    def __init__(self, detail: str, faults: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)


class RuleSetRefused(LotgateError):
    """The step is not possible for this set now; the message says why and what to do."""

    code = "rule-set-refused"
    title = "This step is not possible for the rule set"
    status = 409

    def __init__(self, detail: str, obstacles: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.obstacles = tuple(obstacles)


class RuleSetChanged(LotgateError):
    """Stored files that do not have the digest they are stored under: somebody changed the database."""

    code = "rule-set-changed"
    title = "A stored rule set was changed"
    status = 500


class RuleSetLine(Struct, frozen=True):
    """A rule set in a list."""

    digest: str
    #: active, scheduled, approved, staged, retired, withdrawn
    state: str
    author: str
    staged_at: str
    approved_by: str | None
    #: Since when it is in force, or from when it will be.
    effective_at: str | None
    comment: str


class RuleSetView(Struct, frozen=True):
    """A rule set, whole."""

    line: RuleSetLine
    steps: tuple[Step, ...]
    examination: Examination | None
    files: dict[str, str]


class Staged(Struct, frozen=True):
    """What staging a set found."""

    line: RuleSetLine
    examination: Examination
    #: What is different from the set in force.
    changes: tuple[Change, ...]


# -- what the steps mean -----------------------------------------------------------------------------------------


def timeline(steps: Sequence[Step]) -> list[Step]:
    """Activations in the order in which they take effect; those that were withdrawn before are left out."""
    found: list[Step] = []
    for step in steps:
        if step.step in (ACTIVATED, ROLLED_BACK):
            found.append(step)
        elif step.step == WITHDRAWN:
            found = [s for s in found if s.digest != step.digest or (s.effective_at or "") <= step.at]
    return sorted(found, key=lambda s: (s.effective_at or "", s.position))


def succession(steps: Sequence[Step], now: str) -> list[Step]:
    """Activations that led to the set in force, oldest first; a roll-back goes to the last but one."""
    stack: list[Step] = []
    for step in timeline(steps):
        if (step.effective_at or "") > now:
            break
        if step.step == ROLLED_BACK:
            while stack and stack[-1].digest != step.digest:
                stack.pop()
            stack = stack or [step]
        elif not stack or stack[-1].digest != step.digest:
            stack.append(step)
    return stack


def coming(steps: Sequence[Step], now: str) -> list[Step]:
    """Activations that have not taken effect yet, the next one first."""
    return [s for s in timeline(steps) if (s.effective_at or "") > now]


def is_approved(steps: Sequence[Step], digest: str) -> Step | None:
    """The approval that stands: withdrawing a set takes it back."""
    approval = None
    for step in steps:
        if step.digest == digest and step.step == APPROVED:
            approval = step
        elif step.digest == digest and step.step == WITHDRAWN:
            approval = None
    return approval


def authors(steps: Sequence[Step], digest: str) -> list[str]:
    """Everybody who staged the set since it was last withdrawn, the first one first."""
    found: list[str] = []
    for step in steps:
        if step.digest == digest and step.step == STAGED:
            found.append(step.by)
        elif step.digest == digest and step.step == WITHDRAWN:
            found = []
    return list(dict.fromkeys(found))


def lines(steps: Sequence[Step], now: str) -> list[RuleSetLine]:
    """Every set, the newest first."""
    order = dict.fromkeys(step.digest for step in reversed(steps))
    return [_line(steps, digest, now) for digest in order]


def _line(steps: Sequence[Step], digest: str, now: str) -> RuleSetLine:
    mine = [s for s in steps if s.digest == digest]
    staged = [s for s in mine if s.step == STAGED]
    approval = is_approved(steps, digest)
    present = succession(steps, now)
    later = next((s for s in coming(steps, now) if s.digest == digest), None)
    been = [s for s in timeline(mine) if (s.effective_at or "") <= now]
    effective = later.effective_at if later is not None else None
    if present and present[-1].digest == digest:
        state, effective = "active", been[-1].effective_at
    elif later is not None:
        state = "scheduled"
    elif mine[-1].step == WITHDRAWN:
        state = "withdrawn"
    elif been:
        state = "retired"
    else:
        state = "approved" if approval is not None else "staged"
    return RuleSetLine(
        digest, state, ", ".join(authors(steps, digest)) or staged[0].by, staged[-1].at,
        None if approval is None else approval.by, effective, staged[-1].comment,
    )  # fmt: skip


# -- the sets of one database ------------------------------------------------------------------------------------


class RuleSets:
    """Stored rule sets and the steps of their lives."""

    def __init__(
        self, store: Store, clock: Clock, *, one_person: bool = False,
        trial: Callable[[RuleBook], Sequence[str]] = lambda _: (),
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        #: May the author approve too?
        self._one_person = one_person
        #: Says what more stands between a set and its approval; may take a while.
        self._trial = trial
        #: One set at a time is read and examined: large ones take memory.
        self._examining = threading.Lock()
        self._books: dict[str, RuleBook] = {}
        self._lock = threading.Lock()

    # -- reading -----------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Every step of every set, in order."""
        with self._store.reads.connect() as connection:
            return sql.read_steps(connection)

    def active(self) -> str | None:
        """Digest of the set in force; None while there has been none."""
        present = succession(self.steps(), instant(self._clock()))
        return present[-1].digest if present else None

    def overview(self) -> list[RuleSetLine]:
        """Every set, the newest first."""
        return lines(self.steps(), instant(self._clock()))

    def find(self, name: str) -> str:
        """The digest that ``name`` means: ``active``, a digest, or its first digits. Raises NotFound."""
        known = list(dict.fromkeys(step.digest for step in self.steps()))
        if name == "active":
            active = self.active()
            if active is None:
                raise NotFound("No rule set is in force yet.")
            return active
        digits = name.removeprefix("sha256:")
        found = [d for d in known if d.removeprefix("sha256:").startswith(digits)]
        if len(found) != 1 or len(digits) < _SHORTEST:
            why = "is not enough to tell it from others" if len(found) > 1 or found else "is not known here"
            raise NotFound(f"The rule set {name} {why}; `lotgate rules list` shows those there are.")
        return found[0]

    def files(self, digest: str) -> dict[str, str]:
        """The files of a set, name -> text. Raises NotFound."""
        with self._store.reads.connect() as connection:
            found = sql.read_files(connection, digest)
        if found is None:
            raise NotFound(f"The rule set {digest} is not stored here.")
        return found

    def book(self, digest: str) -> RuleBook:
        """A stored set, compiled.

        Raises NotFound, RulePackError when this release cannot read it, RuleSetChanged when it is not what it was.
        """
        with self._lock:
            kept = self._books.get(digest)
        if kept is not None:
            return kept
        book = RuleBook.from_sources(self.files(digest))
        if book.digest != digest:
            raise RuleSetChanged(
                f"The files stored as rule set {digest} were changed in the database: they are {book.digest} now. "
                "Restore the table rule_sets from a backup."
            )
        with self._lock:
            self._books[digest] = book
            while len(self._books) > _KEPT:
                del self._books[next(iter(self._books))]
        return book

    def show(self, name: str) -> RuleSetView:
        """A set with its files, its steps and what an examination finds. Raises NotFound."""
        digest = self.find(name)
        steps = self.steps()
        try:
            examination = examine(self.book(digest))
        except RulePackError:
            examination = None
        return RuleSetView(
            _line(steps, digest, instant(self._clock())), tuple(s for s in steps if s.digest == digest), examination,
            self.files(digest),
        )  # fmt: skip

    def diff(self, name: str, against: str = "active") -> tuple[Change, ...]:
        """What is different in ``name``, in words. Raises NotFound."""
        return differences(self.book(self.find(against)), self.book(self.find(name)))

    def verify(self) -> list[str]:
        """What is wrong with the stored sets, in sentences: files that were changed, sets that the journal misses."""
        with self._store.reads.connect() as connection:
            changed = [digest for digest, files in sql.read_sets(connection) if digest_of(files) != digest]
            missing = sql.read_missing(connection)
        return [
            *(f"rule set {digest}: its stored files were changed" for digest in changed),
            *(f"rule set {digest}: it judged entries of the journal, and is not stored" for digest in missing),
        ]

    # -- steps -------------------------------------------------------------------------------------------------

    def ensure_first(self, directory: Path) -> str:
        """Digest of the set in force; on a database without one, the files in ``directory`` become it.

        Raises RulePackError when they are needed and cannot be used.
        """
        active = self.active()
        if active is not None:
            return active
        book = RuleBook.load(directory)
        now = instant(self._clock())
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            present = succession(sql.read_steps(connection), now)
            if present:
                return present[-1].digest
            sql.keep_files(connection, book.digest, book.sources, now)
            comment = "the first start of this installation: nothing was in force, the files on disk are"
            sql.add_step(connection, book.digest, STAGED, OURSELVES, now, comment)
            sql.add_step(connection, book.digest, ACTIVATED, OURSELVES, now, comment, now)
        return book.digest

    def stage(self, files: Mapping[str, str], by: str, comment: str = "") -> Staged:
        """Store ``files`` as a set. Raises RuleFilesInvalid with every mistake when they cannot be loaded."""
        with self._examining:
            book = _compiled(files)
            examination = examine(book)
        now = instant(self._clock())
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            sql.keep_files(connection, book.digest, book.sources, now)
            steps = sql.read_steps(connection)
            if by not in authors(steps, book.digest):
                sql.add_step(connection, book.digest, STAGED, by, now, comment)
                steps = sql.read_steps(connection)
        active = self.active()
        changes = () if active is None else differences(self.book(active), book)
        return Staged(_line(steps, book.digest, now), examination, changes)

    def approve(self, name: str, by: str, comment: str = "") -> RuleSetLine:
        """Say yes. Raises RuleSetRefused for the author, and for a set that has lint errors or failing tests."""
        digest = self.find(name)
        obstacles = self._obstacles(digest)
        now = instant(self._clock())
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            steps = sql.read_steps(connection)
            wrote = authors(steps, digest)
            if not wrote:
                raise RuleSetRefused(f"Rule set {_short(digest)} was withdrawn; stage it again.")
            if by in wrote and not self._one_person:
                raise RuleSetRefused(
                    f"{by} staged rule set {_short(digest)}; somebody else has to approve it. In a plant where one "
                    "person does both, set LOTGATE_RULES_APPROVAL=one-person."
                )
            if obstacles:
                words = "; ".join(obstacles[:3]) + (f"; and {len(obstacles) - 3} more" if len(obstacles) > 3 else "")
                raise RuleSetRefused(f"Rule set {_short(digest)} cannot be approved: {words}.", obstacles)
            if is_approved(steps, digest) is None:
                sql.add_step(connection, digest, APPROVED, by, now, comment)
                steps = sql.read_steps(connection)
        return _line(steps, digest, now)

    def activate(self, name: str, by: str, comment: str = "", at: str | None = None) -> RuleSetLine:
        """Put an approved set in force now, or at the instant ``at``. Raises RuleSetRefused."""
        digest = self.find(name)
        self.book(digest)
        now = instant(self._clock())
        if at is not None and at < now:
            raise RuleSetRefused(f"{at} is over; a set comes into force now or later.")
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            steps = sql.read_steps(connection)
            present = succession(steps, now)
            if present and present[-1].digest == digest and at is None:
                raise RuleSetRefused(f"Rule set {_short(digest)} is in force already.")
            if is_approved(steps, digest) is None and not _was_in_force(steps, digest, now):
                raise RuleSetRefused(f"Rule set {_short(digest)} is not approved; `lotgate rules approve` comes first.")
            sql.add_step(connection, digest, ACTIVATED, by, now, comment, at or now)
            steps = sql.read_steps(connection)
        return _line(steps, digest, now)

    def roll_back(self, by: str, comment: str = "", expected: str | None = None) -> RuleSetLine:
        """Put the set that was in force before the present one in force again, now. Raises RuleSetRefused.

        ``expected``: the set that the caller saw in force; a roll-back that is sent twice goes back once.
        """
        now = instant(self._clock())
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            present = succession(sql.read_steps(connection), now)
            if len(present) < 2:
                raise RuleSetRefused("No other rule set was in force before the present one.")
            if expected is not None and present[-1].digest != expected:
                words = f"Rule set {_short(present[-1].digest)} is in force now, not {_short(expected)}."
                raise RuleSetRefused(f"{words} Look again with `lotgate rules list`.")
            digest = present[-2].digest
            sql.add_step(connection, digest, ROLLED_BACK, by, now, comment, now)
            steps = sql.read_steps(connection)
        return _line(steps, digest, now)

    def withdraw(self, name: str, by: str, comment: str = "") -> RuleSetLine:
        """Take a set back: its approval ends, and what was to come of it does not. Raises RuleSetRefused."""
        digest = self.find(name)
        now = instant(self._clock())
        with self._store.engine.begin() as connection:
            sql.one_at_a_time(self._store, connection)
            present = succession(sql.read_steps(connection), now)
            if present and present[-1].digest == digest:
                raise RuleSetRefused(f"Rule set {_short(digest)} is in force; roll back, or activate another one.")
            sql.add_step(connection, digest, WITHDRAWN, by, now, comment)
            steps = sql.read_steps(connection)
        return _line(steps, digest, now)

    def _obstacles(self, digest: str) -> tuple[str, ...]:
        try:
            book = self.book(digest)
        except RulePackError as error:
            return tuple(str(f) for f in error.findings)
        with self._examining:
            return examine(book).obstacles or tuple(self._trial(book))


def _was_in_force(steps: Sequence[Step], digest: str, now: str) -> bool:
    return any(s.digest == digest and (s.effective_at or "") <= now for s in timeline(steps))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _compiled(files: Mapping[str, str]) -> RuleBook:
    if len(files) > MAX_FILES or sum(len(text) for text in files.values()) > MAX_BYTES:
        raise RuleFilesInvalid(f"A rule set has at most {MAX_FILES} files and {MAX_BYTES // 1_000_000} MB.")
    large = next((name for name, text in files.items() if len(text) > MAX_FILE_BYTES), None)
    if large is not None:
        raise RuleFilesInvalid(f"{large} is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it into several files.")
    bad = [name for name in files if not _is_name(name)]
    if bad:
        raise RuleFilesInvalid(f"{bad[0]!r} cannot be the name of a rule file; write for example incoming/items.yaml.")
    sources = dict(files)
    findings = Findings()
    if VOCABULARY_FILE not in sources:
        text = read_text(SHIPPED / VOCABULARY_FILE, VOCABULARY_FILE, findings)
        sources |= {} if text is None else {VOCABULARY_FILE: text}
    try:
        return RuleBook.from_sources(sources)
    except RulePackError as error:
        faults = [(str(f.location), f.message + (f" ({f.hint})" if f.hint else "")) for f in error.findings]
        raise RuleFilesInvalid(f"{len(faults)} mistakes; the first: {faults[0][0]}: {faults[0][1]}", faults) from None


def _is_name(name: str) -> bool:
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and path.as_posix() == name and name.isprintable()
    return plain and 0 < len(name) <= 200 and path.suffix in SUFFIXES



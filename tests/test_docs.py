"""What the documents say is true: their commands run, their outputs come, their links lead somewhere.

A fence ``sh`` runs, in order, in one shell a document, beside a real `lotgate up`; ``exit=1`` says how it ends, and
``no-run`` that it belongs to another machine or to another test. The fence ``output`` behind it is what it prints,
``…`` standing for anything. ``file=`` is a file that lies there, ``python`` is a program that must at least compile.
"""

import argparse
import ast
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.main import commands, parser
from engine.consequences import RECORDS
from engine.journal import GENESIS, Entry, entry_hash
from engine.settings import SHIPPED_RULES, Settings, load_settings, shown
from rules import check
from rules.compiled import Severity, Type, Verdict
from rules.rulebook import RuleBook
from tests.installation import ROOT, Installation

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Fence:
    """A fenced block: its language, its words, its text."""

    def __init__(self, found: re.Match[str]) -> None:
        words = found["info"].split()
        self.language = words[0] if words else ""
        self.words = words[1:]
        self.body = found["body"]

    def value(self, name: str) -> str | None:
        return next((w.partition("=")[2] for w in self.words if w.startswith(f"{name}=")), None)

    @property
    def runs(self) -> bool:
        return self.language == "sh" and "no-run" not in self.words


def fences(path: Path) -> list[Fence]:
    return [Fence(found) for found in _FENCE.finditer(path.read_text(encoding="utf-8"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def as_pattern(expected: str) -> str:
    """White space does not count, ``…`` is anything."""
    return ".*?".join(re.escape(re.sub(r"\s", "", part)) for part in expected.split("…"))


def lotgate_lines(fence: Fence) -> Iterator[list[str]]:
    """The arguments of every `lotgate` command in a fence of shell lines."""
    for line in fence.body.replace("\\\n", " ").splitlines():
        for part in re.split(r"\|\|?|&&|;", line.split(" #")[0]):
            words = shlex.split(part) if part.count("'") % 2 == 0 and part.count('"') % 2 == 0 else part.split()
            while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] == "exec"):
                words = words[1:]
            if words and words[0].rpartition("/")[2] == "lotgate":
                yield [w for w in words[1 : words.index("<") if "<" in words else None] if not w.startswith(">")]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("documents")
    shutil.copytree(SHIPPED_RULES, directory / "my-rules")
    for path in DOCUMENTS:
        for fence in fences(path):
            name = fence.value("file")
            if name:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text(fence.body)
    running = Installation(directory, LOTGATE_RULES=str(directory / "my-rules"))
    running.start()
    yield running
    running.end()


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if any(f.runs for f in fences(p))], ids=named)
def test_every_command_runs_and_prints_what_the_document_shows(path: Path, installation: Installation) -> None:
    blocks = fences(path)
    script = ["KEY=$(cat var/admin.key)"]
    for number, fence in enumerate(blocks):
        if fence.runs:
            code = fence.body.replace("http://127.0.0.1:8000", installation.url).rstrip("\n")
            script += [f"echo '=== {number}'", code, 'code=$?; echo; echo "=== exit $code"']
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=installation.directory, env=installation.environment,
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    printed = dict(re.findall(r"=== (\d+)\n(.*?\n=== exit \d+)\n", done.stdout, re.DOTALL))
    for number, fence in enumerate(blocks):
        if not fence.runs:
            continue
        output, _, code = printed[str(number)].rpartition("\n=== exit ")
        assert code == (fence.value("exit") or "0"), f"{fence.body}\n{output}\n{done.stderr[-3000:]}"
        after = blocks[number + 1] if number + 1 < len(blocks) else None
        if after is not None and "output" in after.words:
            found = re.sub(r"\s", "", output)
            assert re.search(as_pattern(after.body), found, re.DOTALL), f"{fence.body}\nprints\n{output}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_lotgate_command_that_is_shown_exists_with_its_options(path: Path) -> None:
    for fence in fences(path):
        for words in lotgate_lines(fence) if fence.language == "sh" else ():
            parser().parse_args(words)  # ends the test when it cannot be used, and says why


def test_the_command_lines_are_found() -> None:
    """A reader that finds nothing would let everything pass."""
    shown_commands = {words[0] for p in DOCUMENTS for f in fences(p) if f.language == "sh" for words in lotgate_lines(f)}
    assert shown_commands == set(commands()), "each command is shown somewhere, and nothing that is none"


def parsers_of(within: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The words of a command line, and what each takes."""
    found = [a.choices for a in within._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def options_of(within: argparse.ArgumentParser) -> set[str]:
    """Every option, those of inner words too."""
    own = {option for action in within._actions for option in action.option_strings}
    return own.union(*(options_of(inner) for inner in parsers_of(within).values()))


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_and_option_has_its_section(command: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## lotgate (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert command in sections, f"docs/cli.md has no section 'lotgate {command}'"
    common = {"--help", "-h", "--json", "--url", "--key"}
    for option in set(options_of(parsers_of(parser())[command])) - common:
        assert f"`{option}" in sections[command], f"docs/cli.md does not say what {option} of {command} does"
    for action in parsers_of(parsers_of(parser())[command]):
        assert f"`{action}`" in sections[command], f"docs/cli.md does not say what `lotgate {command} {action}` does"


def test_every_setting_is_in_the_table_with_its_default() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `LOTGATE_(\w+)` \| (.*?) \|", text, re.MULTILINE))
    named = {"secrets": "SECRET_NAME", "urls": "URL_NAME"}
    assert set(rows) == {named.get(f, f.upper()) for f in Settings.__struct_fields__} | {"CONFIG"}
    for name, value in shown(load_settings({})).items():
        if name not in named:
            said = rows[name.upper()].strip("`").replace("–", "")
            assert value == said or value.endswith(f"/{said}"), f"LOTGATE_{name.upper()} is {value!r}, not {said!r}"


def test_every_metric_is_documented(installation: Installation) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    with installation.client() as http:
        families = set(re.findall(r"^# TYPE (lotgate_\w+) ", http.get("/metrics").text, re.MULTILINE))
    assert families
    assert families - set(re.findall(r"`(lotgate_\w+)`", text)) == {
        f for f in families if f.endswith("_created")
    }, "docs/operations.md lists every metric"


def test_every_call_is_documented(installation: Installation) -> None:
    text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    with installation.client() as http:
        paths = http.get("/schema/openapi.json").json()["paths"]
    assert len(paths) > 20
    for path, calls in paths.items():
        command = re.fullmatch(r"/v1/lots/\{lot\}/([a-z-]+)", path)
        for method in calls:
            said = f"`{command[1]}`" if command and method == "post" else path
            assert said in text, f"docs/http.md says nothing of {method.upper()} {path}"


def test_every_word_of_the_rule_language_is_explained() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    words = {
        *check.GATES, *check.STATES, *check.REACTIONS, *check.FILE_KEYS, *check.RULE_KEYS, *check.REACTION_KEYS,
        *check.REQUIREMENT_KEYS, *(v.value for v in Verdict), *(s.value for s in Severity), *(t.value for t in Type),
    }  # fmt: skip
    vocabulary = RuleBook.load(SHIPPED_RULES).vocabulary
    words |= set(vocabulary) | {name for kind in vocabulary.values() for name in kind.fields}
    missing = {word for word in words if not re.search(rf"\b{re.escape(word)}\b", text)}
    assert not missing, f"docs/rules.md does not say what {', '.join(sorted(missing))} means"


def test_every_escalation_is_explained() -> None:
    """Somebody who finds one in the list must find in the documents what to do."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    ours = "".join(p.read_text() for room in ("engine", "actors") for p in sorted((ROOT / room).rglob("*.py")))
    kinds = set(re.findall(r"""(?:escalate_once\(|open_once\(|opened\(|kind=)"([a-z-]+)\"""", ours))
    kinds |= {kind for _, kind in RECORDS.values()}
    assert len(kinds) > 5
    for kind in kinds:
        assert f"`{kind}`" in text, f"docs/operations.md does not say what to do about {kind}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{named(path)} links to {link}"
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", target.read_text(encoding="utf-8")), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{named(path)} links to {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_program_in_a_document_compiles(path: Path) -> None:
    for fence in fences(path):
        if fence.language == "python":
            ast.parse(fence.body)


def test_every_document_is_linked_from_the_readme() -> None:
    """What cannot be found is not there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {link.partition("#")[0] for link in _LINK.findall(text)}
    assert {named(p) for p in DOCUMENTS} - linked == {"README.md"}


def entry_of_a_journal(version: int, previous: Entry | None, text: str) -> Entry:
    """An entry whose texts are ``text``, hashed by the product."""
    entry = Entry(
        text, version, "event", "hold", "hold.applied.v1", text, text, None, "2026-11-23T08:00:00.000000Z", text, None,
        text, None, previous.state_after if previous else "absent", "blocked", "sha256:0", text, text,
        previous.hash if previous else GENESIS,
    )  # fmt: skip
    return msgspec.structs.replace(entry, hash=entry_hash(entry))


def verified(entries: list[dict[str, object]]) -> str:
    """What the document's verifier says; empty when all is well."""
    program = next(f.body for f in fences(ROOT / "docs" / "journal.md") if f.value("file") == "verify_journal.py")
    words = {"json": json, "hashlib": hashlib, "sys": sys}
    exec(program.replace("check(json.load(sys.stdin)", "(json.load(sys.stdin)").rsplit("\n(", 1)[0], words)
    try:
        words["check"](entries)  # type: ignore[operator]
    except SystemExit as end:
        return str(end.code)
    return ""


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), min_size=2, max_size=4))
@settings(max_examples=100, deadline=None)
def test_the_verifier_and_the_product_mean_the_same_bytes(texts: list[str]) -> None:
    journal: list[Entry] = []
    for number, text in enumerate(texts, 1):
        journal.append(entry_of_a_journal(number, journal[-1] if journal else None, text))
    assert verified(json.loads(msgspec.json.encode(journal))) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda j: j[1].update(data='{"x": 1}'), "version 2: its content was changed"),
        (lambda j: j[1].update(principal="nobody"), "version 2: its content was changed"),
        (lambda j: j.pop(1), "version 2 is missing"),
        (lambda j: j.reverse(), "version 1 is missing"),
        (lambda j: j[1].update(prev_hash="0" * 64), "version 2: it does not follow the entry before it"),
        (lambda j: j[0].update(hash="0" * 64), "version 1: its content was changed"),
    ],
)
def test_the_verifier_finds_what_was_changed(
    change: Callable[[list[dict[str, object]]], object], said: str, installation: Installation
) -> None:
    installation.run("demo", "--lots", "1")
    with installation.client() as http:
        lot = http.get("/v1/lots", params={"state": "released", "limit": 1}).json()["data"][0]["id"]
        entries = http.get(f"/v1/lots/{quote(lot, safe='')}/journal").json()["data"]
    assert verified(entries) == ""
    change(entries)
    assert said in verified(entries)


def test_every_test_that_a_document_names_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for path in DOCUMENTS:
        text = _FENCE.sub("", path.read_text(encoding="utf-8"))
        missing = set(re.findall(r"`(test_\w+)`", text)) - there
        assert not missing, f"{named(path)} names {missing}"


def test_no_document_knows_the_machine_it_was_written_on() -> None:
    for path in DOCUMENTS:
        found = re.search(r"/(?:work|root|tmp/\w+|home)/", path.read_text(encoding="utf-8"))
        assert found is None, f"{named(path)}: {found}"

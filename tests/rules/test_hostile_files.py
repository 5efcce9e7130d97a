"""Files that are not only wrong but meant to hurt, or half there: each is a clear finding, in bounded time and memory."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.findings import RulePackError
from rules.parse import MAX_BYTES
from rules.rulebook import RuleBook


def refused(directory: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with pytest.raises(RulePackError) as caught:
        RuleBook.load(directory)
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "anchors and aliases"),
        ("a: &a [*a]\n", "anchors and aliases"),
        ("[" * 40 + "]" * 40, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 50_000, "nested too deeply"),
        ("{a: " * 2000, "nested too deeply"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag"),
        ("", "the file is empty"),
        ("# nothing but a comment\n", "the file is empty"),
        ("just words\n", "a rule file is a mapping"),
        ("- a\n- b\n", "a rule file is a mapping"),
        ("? {a: b}\n: c\n", "a key must be a word"),
        ("a: \x00b\n", "x.yaml:1:4: error: there is a control character here (U+0000)"),
        ('a: "\n', "cannot be read here"),
        ("%YAML 9.9\n---\na: b\n", "cannot be read here"),
    ],
    ids=["bomb", "cycle", "deep", "very deep", "deep lists", "deep maps", "code", "empty", "comment", "words", "list",
         "complex key", "NUL", "open quote", "directive"],
)  # fmt: skip
def test_a_hostile_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    assert message in refused(tmp_path)


def test_fifty_megabytes_are_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "x.yaml").open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    assert f"larger than {MAX_BYTES // 1_000_000} MB" in refused(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("rulefile: 1\n".encode("utf-16"), "not UTF-8"),
        (b"rulefile: 1\nowner: M\xfcller\n", "not UTF-8 (byte 20)"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(data)
    assert message in refused(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, small_plant: Any) -> None:
    (tmp_path / "vocabulary.yaml").write_text(small_plant.vocabulary)
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + small_plant.rules.replace("\n", "\r\n").encode())
    assert RuleBook.load(tmp_path).gates() == {"receive", "release"}


def test_a_directory_that_is_not_there_and_one_without_rules_are_refused(tmp_path: Path) -> None:
    assert "there is no such directory" in refused(tmp_path / "nowhere")
    assert "there is no rule file here" in refused(tmp_path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_half_written_file_is_either_whole_or_refused(small_plant: Any, data: st.DataObject) -> None:
    """Cut anywhere: what is left loads as fewer rules or is refused; it never raises anything else."""
    text = small_plant.rules[: data.draw(st.integers(0, len(small_plant.rules)))]
    try:
        book = small_plant.book(text)
    except RulePackError as error:
        assert error.findings  # noqa: PT017  # either is right
    else:
        assert {rule.id for rule in book.rules.rules} <= {"R-1", "R-2"}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_never_raises_anything_but_findings(small_plant: Any, data: st.DataObject) -> None:
    """Characters are put in, taken out or doubled at random places."""
    text = small_plant.rules
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.sampled_from([":", " ", "\n", "-", "[", "]", "{", "}", '"', "'", "~", "&a ", "*a", "\t", "1e9", "no", "“",
                             "row.", "lot.", "every: ", "today", "..", "!x ", "#", "|", ">", ",", "=", "\u2028"])
        )  # fmt: skip
        text = text[:at] + piece + text[at + data.draw(st.integers(0, 3)) :]
    try:
        small_plant.book(text)
    except RulePackError as error:
        for finding in error.findings:
            assert finding.message
            assert finding.location.line >= 1


def test_all_mistakes_of_all_files_are_told_at_once(small_plant: Any) -> None:
    with pytest.raises(RulePackError) as caught:
        small_plant.book(
            small_plant.rules.replace("block", "blok").replace("supplier.status in", "supplier.staus in"),
            other__yaml="rulefile: 1\nowner: o\n",
        )
    text = str(caught.value)
    assert text.count('"blok" is not a severity') == 2
    assert "staus" in text
    assert 'other.yaml:1:1: error: a rule file has no "reference:"' in text

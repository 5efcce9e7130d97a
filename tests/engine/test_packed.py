"""Zip files from outside: whatever the bytes are, they are unpacked as they are or refused with a reason."""

import io
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.packed import Bounds, NoZip, PackedRefused, look, unpack

BOUNDS = Bounds(most_bytes=5_000_000, most_parts=5, ratio=100, freely_bytes=100_000)


def packed(*parts: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    to = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(to, "w", how) as archive:
        warnings.simplefilter("ignore")  # of two files of one name
        for name, content in parts:
            archive.writestr(name, content)
    return to.getvalue()


GOOD = packed(("a", b"one"), ("b", b"two" * 100))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(("zeros", b"\0" * 1_000_000)), "would unpack to 1000000 bytes in 1 parts"),
        (packed(("text", bytes(range(256)) * 30_000), how=zipfile.ZIP_STORED), "would unpack to 7680000 bytes"),
        (packed(*((str(number), b"") for number in range(6))), "in 6 parts"),
        (packed(("a", b"1"), ("a", b"2")), "two files of one name"),
        (packed(("a", b"1" * 1000), how=zipfile.ZIP_BZIP2), "packed in a way"),
        (b"no zip file", "it is no zip file"),
        (b"", "it is no zip file"),
        (GOOD[:-30], "it is no zip file"),
    ],
)
def test_what_is_not_fit_is_refused_and_says_why(content: bytes, words: str) -> None:
    with pytest.raises(PackedRefused, match=words):
        unpack(content, BOUNDS)


def test_what_is_encrypted_or_of_a_later_format_is_refused() -> None:
    entry = GOOD.index(b"PK\x01\x02")
    encrypted, later = bytearray(GOOD), bytearray(GOOD)
    encrypted[entry + 8] |= 1
    later[entry + 6] = 99
    with pytest.raises(PackedRefused, match="encrypted"):
        look(io.BytesIO(bytes(encrypted)), BOUNDS)
    with pytest.raises(NoZip, match="version 9"):
        look(io.BytesIO(bytes(later)), BOUNDS)


@given(st.dictionaries(st.text("abc/", min_size=1, max_size=5), st.binary(max_size=500), max_size=5))
@settings(max_examples=50, deadline=None)
def test_what_was_packed_is_unpacked(files: dict[str, bytes]) -> None:
    content = packed(*files.items())
    assert unpack(content, BOUNDS) == files
    opened = io.BytesIO(content)
    look(opened, BOUNDS)
    assert opened.read() == content, "whoever reads it afterwards finds its beginning"


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_of_damaged_bytes_nothing_comes_but_a_refusal_or_whole_parts(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(GOOD)
    for at, byte in changes:
        damaged[at] = byte
    try:
        found = unpack(bytes(damaged), BOUNDS)
    except PackedRefused:
        return
    assert all(content in (b"one", b"two" * 100, b"") for content in found.values()), "a sum is over each part"

"""Bodies are bounded while they are read."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.body import Gone, Patience, lines, whole
from api.problems import Refused


def pieces(*bodies: bytes) -> Callable[[], Any]:
    """An ASGI ``receive`` that gives these pieces; after the last it must not be asked again."""
    left = list(bodies)

    async def receive() -> dict[str, Any]:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return receive


async def _hang_up() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _stand_still() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("the event is never set")


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert asyncio.run(whole(pieces(b"abc", b"de"), 5, None)) == b"abcde"
    assert asyncio.run(whole(pieces(b"abcde"), 5, b"5")) == b"abcde"


def test_one_byte_more_is_refused_before_the_rest_is_read() -> None:
    never_read = pieces(b"abc", b"def", b"the rest")
    with pytest.raises(Refused) as refused:
        asyncio.run(whole(never_read, 5, None))
    assert refused.value.status == 413
    assert asyncio.run(never_read())["body"] == b"the rest"


def test_an_announced_length_is_refused_without_reading_at_all() -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(whole(_stand_still, 5, b"6"))
    assert refused.value.status == 413


def test_a_caller_who_hangs_up_is_not_answered() -> None:
    with pytest.raises(Gone):
        asyncio.run(whole(_hang_up, 5, None))


async def _read_lines(receive: Callable[[], Any], limit: int) -> list[bytes | None]:
    return [line async for line in lines(receive, Patience(), limit)]


@pytest.mark.parametrize("split", range(1, 12))
def test_lines_are_the_same_however_the_network_cuts_them(split: int) -> None:
    text = b"one\ntwo\n\nthree"
    cut = [text[i : i + split] for i in range(0, len(text), split)]
    assert asyncio.run(_read_lines(pieces(*cut), 100)) == [b"one", b"two", b"", b"three"]


@pytest.mark.parametrize("split", range(1, 40, 3))
def test_a_line_that_is_too_long_spoils_only_itself(split: int) -> None:
    text = b"one\n" + b"x" * 30 + b"\ntwo\n" + b"y" * 30
    cut = [text[i : i + split] for i in range(0, len(text), split)]
    assert asyncio.run(_read_lines(pieces(*cut), 10)) == [b"one", None, b"two", None]


def test_a_body_that_stands_still_is_given_up() -> None:
    async def read() -> None:
        patience = Patience(seconds=0.2)
        sweeping = asyncio.create_task(patience.sweep())
        try:
            with pytest.raises(Refused) as refused:
                await patience.wait(whole(_stand_still, 5, None))
            assert refused.value.status == 408
            # The same task goes on unharmed.
            assert await patience.wait(whole(pieces(b"abc"), 5, None)) == b"abc"
        finally:
            sweeping.cancel()

    asyncio.run(asyncio.wait_for(read(), 5))

"""Slow reads hold up each other, a bounded number of them, and nobody else."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from api.slowly import Slowly
from engine.errors import Overloaded


class Trace:
    """A read that takes until it is let end."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self._count = threading.Lock()
        self.at_work = self.most = self.begun = 0

    def __call__(self, lot: str) -> str:
        with self._count:
            self.at_work, self.begun = self.at_work + 1, self.begun + 1
            self.most = max(self.most, self.at_work)
        assert self.end.wait(30)
        with self._count:
            self.at_work -= 1
        return lot


@pytest.fixture
def trace() -> Iterator[Trace]:
    made = Trace()
    yield made
    made.end.set()


async def until_begun(trace: Trace, number: int) -> None:
    deadline = time.monotonic() + 10
    while trace.begun < number:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_other_calls_go_on_while_every_thread_for_slow_reads_is_taken(trace: Trace) -> None:
    async def run() -> None:
        slowly = Slowly(at_once=3, most=24)
        traces = [asyncio.create_task(slowly(trace, f"L{number}")) for number in range(24)]
        await until_begun(trace, 3)
        # More than the threads that the event loop has for everything else.
        for _ in range(100):
            async with asyncio.timeout(5):
                assert await asyncio.to_thread(len, "four") == 4
        assert not any(task.done() for task in traces)
        trace.end.set()
        assert await asyncio.gather(*traces) == [f"L{number}" for number in range(24)]
        assert trace.most == 3
        assert slowly.under_way == 0

    asyncio.run(run())


def test_in_the_common_threads_they_would_hold_up_everybody(trace: Trace) -> None:
    """What the other test would see without threads of their own: it can fail."""

    async def run() -> None:
        traces = [asyncio.create_task(asyncio.to_thread(trace, f"L{number}")) for number in range(64)]
        await asyncio.sleep(0.3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.to_thread(len, "four")
        trace.end.set()
        await asyncio.gather(*traces)

    asyncio.run(run())


def test_one_more_than_may_wait_is_told_to_come_again(trace: Trace) -> None:
    async def run() -> None:
        slowly = Slowly(at_once=1, most=3)
        traces = [asyncio.create_task(slowly(trace, "L")) for _ in range(3)]
        await until_begun(trace, 1)
        with pytest.raises(Overloaded) as refused:
            await slowly(trace, "L")
        assert refused.value.retry_after_seconds > 0
        traces[2].cancel()
        await asyncio.sleep(0.05)
        assert slowly.under_way == 2, "who goes away leaves the queue"
        traces.append(asyncio.create_task(slowly(trace, "M")))
        trace.end.set()
        assert await asyncio.gather(traces[0], traces[1], traces[3]) == ["L", "L", "M"]
        assert slowly.under_way == 0

    asyncio.run(run())


def test_an_error_comes_to_whoever_asked_and_frees_the_place() -> None:
    async def run() -> None:
        slowly = Slowly(at_once=1, most=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await slowly(lambda: 1 // 0)
            await asyncio.sleep(0.02)

    asyncio.run(run())

"""Progress of the story: bars on a terminal, one plain line a chapter elsewhere, nothing for JSON."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: Sets how many of the chapter's steps are done.
Done = Callable[[int], None]


class Teller:
    """Tells how far the story is, chapter by chapter."""

    def __init__(self, out: TextIO, *, silent: bool) -> None:
        self._out = out
        self._silent = silent

    @contextmanager
    def chapter(self, title: str, steps: int) -> Iterator[Done]:
        """A chapter of `steps` steps; the yielded function takes the number done so far."""
        if self._silent:
            yield lambda done: None
        elif self._out.isatty():
            columns = (
                TextColumn("{task.description:<34}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=Console(file=self._out)) as progress:
                task = progress.add_task(title, total=steps)
                yield lambda done: progress.update(task, completed=done)
        else:
            reached = [0]
            yield lambda done: reached.__setitem__(0, done)
            self._out.write(f"{title}: {reached[0]} of {steps}\n")
            self._out.flush()

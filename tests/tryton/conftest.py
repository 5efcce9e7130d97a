"""One Tryton for all tests of a file, and the line to it."""

from collections.abc import Iterator

import pytest

from tests.proxy import Proxy
from tests.tryton.erp import Tryton


@pytest.fixture(scope="module")
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tryton]:
    """A company with a product and four zones."""
    running = Tryton(tmp_path_factory.mktemp("tryton"))
    try:
        running.start()
        running.settle_in()
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def line(tryton: Tryton) -> Iterator[Proxy]:
    """The line to Tryton, which tests may break."""
    proxy = Proxy(tryton.url)
    yield proxy
    proxy.close()

"""The same two commands on PostgreSQL, with two workers: what the README says of one machine holds for many."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.installation import Installation


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, new_postgres: Callable[[], str]
) -> Iterator[Installation]:
    running = Installation(tmp_path_factory.mktemp("plant"), LOTGATE_DATABASE_URL=new_postgres())
    running.start(words=("--workers", "2"))
    yield running
    running.end()


def test_the_demo_ends_in_agreement_and_everything_verifies(installation: Installation) -> None:
    done = installation.run("demo", "--lots", "20", "--json")
    assert done.returncode == 0, done.stdout + done.stderr + installation.log[-3000:]
    told = json.loads(done.stdout)
    assert (told["lots"], told["lots_that_agree"], told["disagreeing"]) == (22, 22, [])
    assert set(told["deliveries"]) == {"erp", "wms"}
    verified = installation.run("verify", "--json")
    report = json.loads(verified.stdout)
    assert (verified.returncode, report["lots"], report["breaks"]) == (0, 22, [])


def test_two_workers_share_the_deliveries_and_sqlite_is_not_used(installation: Installation) -> None:
    workers = [words for words in installation.processes().values() if words.endswith("api.cli.main worker")]
    assert len(workers) == 2
    assert not list(Path(installation.directory / "var").glob("lotgate.db*"))


def test_it_ends_without_a_trace_and_comes_back(installation: Installation) -> None:
    assert installation.interrupt() == 0
    assert installation.processes() == {}
    installation.start()
    assert installation.run("deliveries", "--state", "pending").stdout == "0 deliveries\n"

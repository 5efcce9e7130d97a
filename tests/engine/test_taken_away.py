"""Somebody with the whole database takes an archived lot away: verification and checkpoints say so."""

from typing import Any

import pytest

from engine.archive import Archiver
from engine.checkpoint_verification import verify_checkpoints
from engine.checkpoints import Signer, read_public
from engine.installation_checkpoints import InstallationCheckpoints
from engine.journal import verify
from engine.store.opening import Store
from engine.store.reading import Reading
from tests.engine.test_archive import archiver, run, sets, settle, ship, signer  # noqa: F401  # fixtures
from tests.engine.test_installation_checkpoints import Operator


@pytest.fixture
def problems(plant: Any, store: Store, clock: Any, archiver: Archiver, signer: Signer) -> Any:  # noqa: F811
    """Three lots, signed and archived; gives what verification says of them and of the rest."""
    keys = {signer.public.key_id: read_public(signer.public.public_key.encode())}
    for n in range(3):
        ship(plant, f"L-{n}")
    settle(plant, clock)
    InstallationCheckpoints(store, signer, clock).make()
    assert run(archiver, clock).lots == 3

    def found() -> list[str]:
        breaks = [f"{one.lot}: {one.problem}" for one in verify(Reading(store).journals()).breaks]
        return breaks + verify_checkpoints(store, keys).problems

    assert found() == []
    return found


def test_the_row_of_an_archived_lot_is_missed(problems: Any, store: Store) -> None:
    Operator(store).run("DELETE FROM lots WHERE id = 'L-1'")
    assert problems() == ["L-1: the journal has no lot beside it"]


@pytest.mark.parametrize("first", ["archived", "brought back"])
def test_a_lot_that_only_the_file_of_its_segment_still_has_is_missed(
    first: str, problems: Any, store: Store, archiver: Archiver  # noqa: F811
) -> None:
    if first == "brought back":
        archiver.restore(lot="L-1")
    operator = Operator(store)
    operator.run("DELETE FROM archived_lots WHERE lot = 'L-1'")
    operator.delete_lot("L-1")
    (said,) = problems()
    assert "6 entries were taken away before lot L-2, version 1" in said
